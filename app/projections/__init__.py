"""The read model in PostgreSQL: a fold of the log that can be thrown away and built again."""
