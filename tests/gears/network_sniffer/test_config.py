"""Configuration: what can't work is refused where it is written."""

import subprocess
import sys

import pytest
from pydantic import ValidationError

from gears.network_sniffer.config import Config


@pytest.mark.parametrize(
    ("config", "reason"),
    [
        ({}, "either `interface` or `file`"),
        ({"interface": "eth1", "file": "a.pcap"}, "either `interface` or `file`"),
        ({"interface": "eth1", "repeat": True}, "are for a `file`"),
        ({"interface": "eth1", "filter": "tcp prt 502"}, "found 'prt'"),
        ({"file": "a.pcap", "replay": "slow"}, "'fast' or 'realtime'"),
        ({"interface": "an-interface-name-too-long"}, "at most 15"),
        ({"file": "a.pcap", "request_timeout": 5}, "needs its unit"),
    ],
)
def test_faults(config, reason):
    """Each fault says what is wrong and what to write."""
    with pytest.raises(ValidationError, match=reason):
        Config.model_validate(config)


def test_needs_no_driver():
    """Reading the manifest imports neither sockets for capture nor a capture library."""
    drivers = "name.endswith(('scapy', 'capture_live', 'sniffer.gear'))"
    code = f"import sys, gears.network_sniffer.config; print([name for name in sys.modules if {drivers}])"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "[]"
