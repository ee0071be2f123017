"""How the hub's streams take from the leaves: one source for each Rack, limited to its part of the UNS."""

from __future__ import annotations

import asyncio
import base64
import json
from typing import Any, Final
from weakref import WeakKeyDictionary

from fluxrig.bus.connection import Bus
from fluxrig.bus.headers import RACK, parse_block
from fluxrig.bus.streams import DEAD, SUBJECTS

_SOURCE_HEADER: Final = "Nats-Stream-Source"
_locks: WeakKeyDictionary[Bus, asyncio.Lock] = WeakKeyDictionary()


async def add_source(bus: Bus, stream: str, rack: str, prefix: str) -> None:
    """Have the hub's `stream` take from `rack`'s leaf what lies at and below `prefix`.

    `prefix` is a UNS path ("acme/lyon"); DEAD does not use it, its subjects begin with the Rack. The same
    again changes nothing. With another prefix the source goes on behind what was taken already.
    """
    subject = f"{SUBJECTS[stream]}.{rack if stream == DEAD else prefix.replace('/', '.')}"
    wanted = _source(rack, stream, subject)
    async with _locks.setdefault(bus, asyncio.Lock()):
        info = await bus.api(f"STREAM.INFO.{stream}")
        present = next((one for one in _sources(info) if _api(one) == _api(wanted)), None)
        if present is not None and present.get("subject_transforms") == wanted["subject_transforms"]:
            return
        if present is not None:
            info = await _take_out(bus, info, wanted, rack)
        config = info["config"]
        mark = config.setdefault("metadata", {}).pop(_key(rack), None)
        if mark is not None:
            wanted["opt_start_seq"] = 1 + await _last_taken(bus, info, rack, json.loads(mark))
        config["sources"] = [*_sources(info), wanted]
        await bus.api(f"STREAM.UPDATE.{stream}", config)


async def _take_out(bus: Bus, info: dict[str, Any], wanted: dict[str, Any], rack: str) -> dict[str, Any]:
    """Stop a source, leave a mark of where it stood, and give the stream's info afterwards.

    While a source runs, its position keeps moving; the mark holds one that it surely had, and from which
    message of the hub on to look for what it took since. If we are killed now, the mark is still there.
    """
    hub_seq = info["state"]["last_seq"]
    config = info["config"]
    now = await bus.api(f"STREAM.INFO.{config['name']}")
    taken = max((one.get("seq", 0) for one in now.get("sources", []) if _api(one) == _api(wanted)), default=0)
    config.setdefault("metadata", {})[_key(rack)] = json.dumps({"taken": taken, "hub_seq": hub_seq})
    config["sources"] = [one for one in _sources(info) if _api(one) != _api(wanted)]
    return await bus.api(f"STREAM.UPDATE.{config['name']}", config)


async def _last_taken(bus: Bus, info: dict[str, Any], rack: str, mark: dict[str, int]) -> int:
    """Give the last sequence of the leaf's stream that the hub holds from `rack`."""
    taken = mark["taken"]
    for seq in range(mark["hub_seq"] + 1, info["state"]["last_seq"] + 1):
        answer = await bus.api(f"STREAM.MSG.GET.{info['config']['name']}", {"seq": seq})
        headers = parse_block(base64.b64decode(answer["message"].get("hdrs", "")))
        if headers.get(RACK) == rack:
            taken = max(taken, int(headers[_SOURCE_HEADER].split(" ")[1]))
    return taken


def _source(rack: str, stream: str, subject: str) -> dict[str, Any]:
    """The source as the server keeps it. Transforms onto themselves are how a source takes two filters."""
    return {
        "name": stream,
        "external": {"api": f"$JS.{rack}.API", "deliver": f"deliver.{rack}"},
        "subject_transforms": [{"src": name, "dest": name} for name in (subject, f"{subject}.>")],
    }


def _sources(info: dict[str, Any]) -> list[dict[str, Any]]:
    return info["config"].get("sources") or []


def _api(source: dict[str, Any]) -> str:
    return str((source.get("external") or {}).get("api", ""))


def _key(rack: str) -> str:
    return f"fluxrig.source.{rack}"
