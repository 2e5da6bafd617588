"""The whole OpenAPI document, tried out by schemathesis against a running service: `make test-fuzz`."""
