"""Which base models there are, where they come from, and what a run on one needs."""
