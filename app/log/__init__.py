"""The message log behind one small port: Kafka in earnest, memory in tests."""
