"""The single writer per command partition: recover, decide, commit, hand over."""
