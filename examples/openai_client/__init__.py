"""OpenAI's own Python client, doing a whole tuning here: only its address and key are ours."""
