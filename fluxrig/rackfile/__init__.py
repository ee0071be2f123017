"""Rack files: read, checked, drawn."""
