"""The network that comes along with the library and its model card."""
