"""Live or replay: whether this process may capture on loopback, and the Rack file for either case."""

from __future__ import annotations

import shutil
import socket
from pathlib import Path
from typing import Any

import yaml

RACK_FILE = Path(__file__).with_name("demo.yaml")
RECORDING = Path(__file__).with_name("scada.pcap")


def may_capture() -> bool:
    """Whether a capture socket opens: Linux with root or CAP_NET_RAW (packet(7))."""
    if not hasattr(socket, "AF_PACKET"):
        return False
    try:
        socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0).close()
    except OSError:
        return False
    return True


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
