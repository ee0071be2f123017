"""The Mixer: what is known or kept for everyone."""
