"""What runs in the child: the only code that imports torch, and it knows nothing of Kafka."""
