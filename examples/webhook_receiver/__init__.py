"""A receiver of webhooks, with nothing but the standard library and the SDK."""
