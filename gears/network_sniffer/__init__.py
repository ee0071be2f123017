"""Passive capture of OT traffic: it listens to a mirror port or reads capture files, and never sends."""
