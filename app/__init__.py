"""Tunesmith's server: the six roles, and what they share."""
