"""Live or replay: whether this process may capture on loopback, and the Rack file for either case."""

from __future__ import annotations

import socket
from pathlib import Path

RECORDING = Path(__file__).with_name("scada.pcap")


def may_capture() -> bool:
    """Whether a capture socket opens: Linux with root or CAP_NET_RAW (packet(7))."""
    if not hasattr(socket, "AF_PACKET"):
        return False
    try:
        socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0).close()
    except PermissionError:
        return False
    return True
