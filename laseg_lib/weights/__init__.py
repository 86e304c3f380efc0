"""The included network and its model card."""
