"""Starts the real Kafka broker and PostgreSQL on one machine, and takes them down again."""
