"""`tunesmith-server`: the service and its operator's commands, a module for each noun."""

from app.cli.program import main

__all__ = ["main"]
