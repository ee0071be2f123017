"""A sink that prints messages."""
