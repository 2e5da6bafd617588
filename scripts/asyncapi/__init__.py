"""`infra/kafka/asyncapi.yaml`, out of the message types and `topics.toml`."""
