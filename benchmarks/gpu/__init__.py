"""What only a GPU can show; each is skipped, and says so, where none is at hand."""
