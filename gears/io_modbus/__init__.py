"""Polls the registers and coils of a Modbus TCP device."""
