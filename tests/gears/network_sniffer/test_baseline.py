"""What the baseline has learned outlasts the gear, if a file is named for it."""

import json
import logging
import struct

import pytest

from fluxrig.errors import Fatal
from fluxrig.testing import Workbench, context
from gears.network_sniffer.baseline_file import BaselineFile
from gears.network_sniffer.config import Config
from gears.network_sniffer.gear import NetworkSniffer

HOUR_NS = 3_600_000_000_000


@pytest.fixture
def sniffed(wire, tmp_path):
    """Give the codes of the anomalies that a new gear finds when a client, hours later, does something."""

    async def run(hours=0, client="10.0.0.1", write=False, **options):
        tape = wire.Tape(client=(client, 40_000))
        tape.exchange(1)
        if write:
            pdu = struct.pack(">BHH", 6, 1, 2)
            tape.send(0, wire.adu(2, pdu))
            tape.send(1, wire.adu(2, pdu))
        packets = [packet._replace(ts=packet.ts + hours * HOUR_NS) for packet in tape.packets]
        path = tmp_path / "a.pcap"
        path.write_bytes(wire.pcap_bytes(packets))
        workbench = Workbench()
        gear = NetworkSniffer(Config(file=path, **options), context("tap"))
        await gear.open()
        await gear.run(workbench.emit)
        await gear.close()
        return [one["code"] for one in wire.anomalies(workbench.out)]

    return run


async def test_outlasts_a_restart(sniffed, tmp_path):
    """A gear that comes later knows what earlier ones have learned, and what they have told already."""
    baseline = tmp_path / "baseline.json"
    assert await sniffed(baseline=baseline) == []
    assert await sniffed(hours=2, baseline=baseline) == []
    assert await sniffed(hours=3, write=True, baseline=baseline) == ["new_writer", "new_function"]
    assert await sniffed(hours=4, write=True, baseline=baseline) == []
    assert "new_client" in await sniffed(hours=5, client="10.0.0.9", baseline=baseline)
    kept = json.loads(baseline.read_text())
    assert (kept["version"], kept["clients"][0]) == (1, ["10.0.0.1", "10.0.0.2 502"])
    assert [path.name for path in sorted(tmp_path.iterdir())] == ["a.pcap", "baseline.json"]


async def test_learning_goes_on(sniffed, tmp_path):
    """A restart neither ends the time of learning nor begins it anew."""
    baseline = tmp_path / "baseline.json"
    assert await sniffed(baseline=baseline, learn="3h") == []
    assert await sniffed(hours=2, client="10.0.0.9", baseline=baseline, learn="3h") == []
    assert "new_client" in await sniffed(hours=4, client="10.0.0.10", baseline=baseline, learn="3h")


async def test_no_file_unless_asked(sniffed):
    """Without a file each start learns anew: the same capture gives the same messages every time."""
    assert await sniffed() == []
    assert await sniffed(hours=5, client="10.0.0.9", write=True) == []


@pytest.mark.parametrize(
    "text",
    ["", "{", "[]", '{"version":2}', '{"version":1,"since_ns":-1,"clients":[],"writers":[],"functions":[]}'],
)
async def test_damaged(sniffed, tmp_path, caplog, text):
    """A file that is none is put aside with one warning, and what is seen is learned anew."""
    baseline = tmp_path / "baseline.json"
    baseline.write_text(text)
    with caplog.at_level(logging.WARNING):
        assert await sniffed(baseline=baseline) == []
    assert len(caplog.records) == 1
    assert "is no baseline; learning anew" in caplog.text
    assert (tmp_path / "baseline.json.damaged").read_text() == text
    assert await sniffed(hours=2, baseline=baseline) == []


async def test_out_of_reach(tmp_path, sniffed):
    """A folder that is not there and a file that can't be read are errors, before anything runs."""
    with pytest.raises(Fatal, match="there is no folder"):
        await sniffed(baseline=tmp_path / "none" / "a.json")
    with pytest.raises(Fatal, match="can't read the baseline"):
        BaselineFile(tmp_path, logging.getLogger()).load()
