"""One run of the sniffer over a capture in a process of its own, so that its memory is its own."""

from __future__ import annotations

import json
import resource
import sys
import time
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Final

from fluxrig.cli.garbage import collect_seldom

if TYPE_CHECKING:
    from gears.network_sniffer.sniffer import Sniffer

SLICE: Final = 256
"""Packets at a time, as the gear takes them."""


def run(path: Path) -> dict[str, float]:
    """Read, decode and encode a whole capture. Gives counts, `seconds` and `rss_mib`."""
    from gears.network_sniffer.capture_file import read_capture
    from gears.network_sniffer.config import Config
    from gears.network_sniffer.packet import CaptureDamaged
    from gears.network_sniffer.setup import make_sniffer

    sniffer = make_sniffer(Config(file=path), "bench/sniff", "bench/sniff", bytes(32))
    counts = {"messages": 0, "bytes": 0}
    packets = read_capture(path)
    start = time.perf_counter()
    try:
        while slice_ := list(islice(packets, SLICE)):
            sniffer.feed(slice_)
            _encode(sniffer, counts)
    except CaptureDamaged as damage:
        sniffer.damaged(str(damage))
    sniffer.finish()
    _encode(sniffer, counts)
    seconds = time.perf_counter() - start
    peak_mib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    found = {"packets": sniffer.packets, "adus": sniffer.counters()["adus"]}
    return {**found, **counts, "seconds": seconds, "rss_mib": peak_mib}


def _encode(sniffer: Sniffer, counts: dict[str, int]) -> None:
    """Encode what the sniffer has, as the uplink would."""
    from fluxrig.codec import encode_sequence

    messages = sniffer.take()
    counts["messages"] += len(messages)
    counts["bytes"] += len(encode_sequence(messages))


if __name__ == "__main__":
    collect_seldom()
    print(json.dumps(run(Path(sys.argv[1]))))
