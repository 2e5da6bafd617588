"""The HTTP api: reads PostgreSQL, writes commands."""
