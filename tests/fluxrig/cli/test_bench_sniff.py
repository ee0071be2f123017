"""`fluxrig bench sniff`: figures of a real run over the recording that ships."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from fluxrig.cli.bench import tshark
from fluxrig.cli.bench.sniff_run import run

RECORDING = Path(__file__).parents[3] / "fluxrig" / "cli" / "demo" / "scada.pcap"


def bench(*arguments):
    command = [sys.executable, "-m", "fluxrig", "bench", "sniff", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=100, check=False)


def test_json():
    """With --json there are the figures that programs rely on, those of tshark where it ran."""
    result = bench(RECORDING, "--rounds", "1", "--json")
    assert result.returncode == 0, result.stderr
    figures = json.loads(result.stdout)
    wanted = {"packets", "adus", "messages", "packets_per_s", "adus_per_s", "rss_mib"}
    assert figures.keys() == wanted | ({"tshark_packets_per_s"} if tshark.find() else set())
    assert all(value > 0 for value in figures.values())


def test_counts():
    """A run counts what is there: each packet, and the ADUs of each exchange."""
    figures = run(RECORDING)
    exchanges = 818
    assert figures["adus"] == 2 * exchanges
    assert figures["messages"] > exchanges
    assert figures["bytes"] > 100 * exchanges


def test_same_program():
    """tshark finds as many function codes in the recording as we find ADUs, where it is installed."""
    program = tshark.find()
    if program is None:
        pytest.skip("tshark is not installed")
    options = ["-d", "tcp.port==5020,mbtcp", "-T", "fields", "-e", "modbus.func_code"]
    done = subprocess.run(
        [program, "-n", "-r", str(RECORDING), *options], capture_output=True, text=True, check=False
    )
    codes = [code for line in done.stdout.splitlines() for code in line.split(",") if code]
    assert len(codes) == run(RECORDING)["adus"]


def test_wrong_use(tmp_path):
    """A file that is no capture is one line and exit code 1; none at all is wrong use."""
    path = tmp_path / "a.pcap"
    path.write_bytes(b"nothing")
    result = bench(path, "--rounds", "1")
    assert result.returncode == 1
    assert "is no capture" in result.stderr
    assert "Traceback" not in result.stderr
    assert bench(tmp_path / "none").returncode == 2
