"""The stack of the source document, to measure against: FastAPI, Celery, Redis, SQLAlchemy, Pydantic."""
