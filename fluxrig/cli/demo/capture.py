"""Live or replay: whether this process may capture on loopback, and the Rack file for either case."""

from __future__ import annotations

import shutil
import socket
from pathlib import Path
from typing import Any

import yaml

LOOPBACK = "lo"
ETH_P_ALL = 3
DISCARD_PORT = 9
PROBE_S = 1.0

RACK_FILE = Path(__file__).with_name("demo.yaml")
RECORDING = Path(__file__).with_name("scada.pcap")


def capture_socket(interface: str) -> socket.socket:
    """Open a socket that sees each frame of the interface (packet(7)). Needs CAP_NET_RAW."""
    tap = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(ETH_P_ALL))
    tap.bind((interface, 0))
    return tap


def may_capture() -> bool:
    """Whether this process sees its own packets on loopback: Linux, and root or CAP_NET_RAW."""
    if not hasattr(socket, "AF_PACKET"):
        return False
    try:
        with capture_socket(LOOPBACK) as tap, socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
            tap.settimeout(PROBE_S)
            sender.sendto(b"", ("127.0.0.1", DISCARD_PORT))
            return bool(tap.recv(1))
    except OSError:
        return False


def write_rack_file(folder: Path, *, live: bool) -> Path:
    """Put the demo's Rack file into `folder`; for a replay, with the recording in place of the interface."""
    path = folder / RACK_FILE.name
    if live:
        shutil.copyfile(RACK_FILE, path)
    else:
        rack = yaml.safe_load(RACK_FILE.read_text(encoding="utf-8"))
        rack["gears"]["tap"] = replay_of(RECORDING)
        path.write_text(yaml.safe_dump(rack, allow_unicode=True, sort_keys=False), encoding="utf-8")
    return path


def replay_of(recording: Path) -> dict[str, Any]:
    """The sniffer's settings to replay a capture at the pace at which it was recorded, again and again."""
    return {"kind": "network_sniffer", "file": str(recording), "replay": "realtime", "repeat": True}
