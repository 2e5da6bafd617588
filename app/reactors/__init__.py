"""What must follow an event elsewhere: each turns an event into an idempotent command."""
