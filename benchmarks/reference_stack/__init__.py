"""The stack that the source document names, to measure against: FastAPI, Celery, Redis, SQLAlchemy, Pydantic."""
