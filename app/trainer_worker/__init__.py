"""Claims work, supervises one child process per attempt, reports."""
