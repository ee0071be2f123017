"""Modbus as data: addresses, value types, tags, requests planned over them. Pure; no module here does I/O
but `tag_file`, which reads tag lists and profiles."""
