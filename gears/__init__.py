"""Gears: what touches the outside world or changes a message. One folder is one kind."""
