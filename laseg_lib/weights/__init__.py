"""The network that comes along with the library, atrium.safetensors, and its model card."""
