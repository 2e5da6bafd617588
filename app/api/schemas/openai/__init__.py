"""OpenAI's face of the tunings: what its clients send, read as ours; what they read, made of ours."""
