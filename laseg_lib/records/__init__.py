"""Recorded experiments: which runs there are, making one, reading them, and what they say."""
