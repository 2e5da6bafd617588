"""The OpenAPI document in the repository, and what a change of it breaks."""
