"""The client with coroutines; the one without is generated from it."""
