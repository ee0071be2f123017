"""Serves tags as Modbus registers and coils over TCP."""
