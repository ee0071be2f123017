"""The audit writer alone: from a full stream to committed Parquet."""

from __future__ import annotations

import asyncio
import os
import time
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

from fluxrig.cli.bench.codec import telemetry
from fluxrig.cli.bench.poll_usage import usage

_EACH: Final = 500
"""Messages in a parcel, as an uplink under load packs them."""
_RACK: Final = "rack-3"
_PATH: Final = "fluxrig.uns.acme.lyon.stamping.line-3.press"


async def measure(folder: Path, messages: int) -> dict[str, Any]:
    """Fill a stream with the 236-byte message, then write and verify it; give the figures."""
    from fluxrig.bus import UNS, Consumer, Leaf, Publisher, Source, Stored, ensure_leaf_streams, mark_of
    from fluxrig.evidence import PublicKeys
    from mixer.audit.store import AuditStore
    from mixer.audit.verify import verify
    from mixer.audit.writer import Roll, Writer

    source = Source(mark_of(_RACK), _PATH)

    class AsFromTheHub(Consumer):
        """Reads the leaf's own stream as if a hub had taken it from there."""

        async def fetch(self, max_messages: int, wait_s: float) -> list[Stored]:
            return [replace(one, source=source) for one in await super().fetch(max_messages, wait_s)]

    async with Leaf(_RACK, folder / "leaf", sync="1m") as leaf, await leaf.connect("bench") as bus:
        await ensure_leaf_streams(bus, _RACK, leaf.store_dir)
        publisher = Publisher(bus, UNS)
        await publisher.open()
        size = await _fill(publisher, messages)
        await publisher.close()
        store = AuditStore(folder / "audit")
        stop = asyncio.Event()
        writer = Writer(bus, store, UNS, Roll(age_s=1.0), lambda _: stop.set(), reads=AsFromTheHub)
        before, start = usage(os.getpid()), time.perf_counter()
        task = asyncio.create_task(writer.run())
        while store.progress(UNS).rows["messages"] < messages:
            stop.clear()
            await stop.wait()
        span_s = time.perf_counter() - start
        after = usage(os.getpid())
        writer.stop()
        await task
    rows = store.progress(UNS)
    start = time.perf_counter()
    report = verify(folder / "audit", PublicKeys.load([folder / "signing.pub"]))
    verify_s = time.perf_counter() - start
    return {
        "writer_msgs_per_s": round(messages / span_s),
        "verify_msgs_per_s": round(messages / verify_s),
        "verify_ok": report.ok,
        "bytes_per_row": round(rows.bytes / messages, 1),
        "cbor_bytes_per_row": round(size / messages, 1),
        "writer_cpu_share": {
            name: round((cpu_s - before.cpu_s.get(name, 0.0)) / span_s, 2)
            for name, cpu_s in after.cpu_s.items()
        },
    }


async def _fill(publisher: Any, messages: int) -> int:
    """Store the messages; give how many bytes they have."""
    from fluxrig.bus import Parcel
    from fluxrig.codec import encode_sequence

    size = 0
    for start in range(0, messages, 20 * _EACH):
        parcels = []
        for first in range(start, min(messages, start + 20 * _EACH), _EACH):
            count = min(_EACH, messages - first)
            payload = encode_sequence([telemetry(first + number) for number in range(count)])
            size += len(payload)
            parcels.append(Parcel(_PATH, payload, count))
        await publisher.store(parcels)
    return size
