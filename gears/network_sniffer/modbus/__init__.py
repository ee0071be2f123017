"""Modbus/TCP as it is seen on the wire: framing, decoding, pairing. Knows nothing of files or sockets."""
