"""`python -m app.cli` is `tunesmith-server`."""

from app.cli.program import main

main()
