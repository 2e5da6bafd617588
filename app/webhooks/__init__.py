"""What api and reactor share of webhooks: where they may go, what they say, their signatures and queue."""
