"""How the hub's streams take from the leaves: one source for each Rack, limited to its part of the UNS."""

from __future__ import annotations

import asyncio
import base64
import json
import secrets
from collections.abc import Collection
from typing import Any, Final
from weakref import WeakKeyDictionary

from fluxrig.bus.connection import ApiError, Bus
from fluxrig.bus.headers import RACK, parse_block
from fluxrig.bus.streams import DEAD, SUBJECTS

_SOURCE_HEADER: Final = "Nats-Stream-Source"
_NO_MESSAGE: Final = 10037
_RESTARTING: Final = "fluxrig.restarting"
_locks: WeakKeyDictionary[Bus, asyncio.Lock] = WeakKeyDictionary()


async def add_source(bus: Bus, stream: str, rack: str, prefix: str) -> None:
    """Have the hub's `stream` take from `rack`'s leaf what lies at and below `prefix`.

    `prefix` is a UNS path ("acme/lyon"); DEAD does not use it, its subjects begin with the Rack. The same
    again changes nothing. With another prefix the source goes on behind what was taken already.
    """
    subject = _root(stream, rack, prefix)
    wanted = _source(rack, stream, subject, start_seq=1)
    async with _locks.setdefault(bus, asyncio.Lock()):
        info = await _put_back(bus, await bus.api(f"STREAM.INFO.{stream}"))
        present = next((one for one in _sources(info) if source_api(one) == source_api(wanted)), None)
        if present is not None and _subject(present) == subject:
            return
        if present is not None:
            info = await _take_out(bus, info, source_api(wanted), rack)
        config = info["config"]
        mark = config.setdefault("metadata", {}).pop(_key(rack), None)
        if mark is not None:
            wanted = _source(rack, stream, subject, 1 + await _last_taken(bus, info, rack, json.loads(mark)))
        config["sources"] = [*_sources(info), wanted]
        await bus.api(f"STREAM.UPDATE.{stream}", config)


async def remove_source(bus: Bus, stream: str, rack: str) -> None:
    """Have the hub's `stream` take nothing more from `rack`'s leaf, until `add_source` has it go on.

    Where there is no such source this changes nothing.
    """
    api = f"$JS.{rack}.API"
    async with _locks.setdefault(bus, asyncio.Lock()):
        info = await _put_back(bus, await bus.api(f"STREAM.INFO.{stream}"))
        if any(source_api(one) == api for one in _sources(info)):
            await _take_out(bus, info, api, rack)


async def trim_source(bus: Bus, stream: str, rack: str, prefix: str, before_seq: int) -> None:
    """Have the hub's `stream` forget what it holds of `rack` before `before_seq`, but never its last message.

    By that one the server finds its place again after a restart.
    """
    root = _root(stream, rack, prefix)
    subjects = (root, f"{root}.>")
    last = max([await _last_seq(bus, stream, subject) for subject in subjects])
    for subject in subjects:
        if (seq := min(before_seq, last)) > 0:
            await bus.api(f"STREAM.PURGE.{stream}", {"filter": subject, "seq": seq})


async def restart_sources(bus: Bus, stream: str, apis: Collection[str]) -> None:
    """Take the sources with these API prefixes (`$JS.<rack>.API`) out and put them back as they were.

    All at once: each change of a stream with many sources takes the hub some 100 ms.
    """
    async with _locks.setdefault(bus, asyncio.Lock()):
        info = await _put_back(bus, await bus.api(f"STREAM.INFO.{stream}"))
        out = [one for one in _sources(info) if source_api(one) in apis]
        if out:
            metadata = info["config"].get("metadata", {}) | {_RESTARTING: json.dumps(out)}
            rest = [one for one in _sources(info) if source_api(one) not in apis]
            await _put_back(
                bus,
                await bus.api(
                    f"STREAM.UPDATE.{stream}", info["config"] | {"sources": rest, "metadata": metadata}
                ),
            )


async def _put_back(bus: Bus, info: dict[str, Any]) -> dict[str, Any]:
    """Put back what a restart took out, also one that was killed in between."""
    out = (info["config"].get("metadata") or {}).pop(_RESTARTING, None)
    if out is None:
        return info
    config = info["config"] | {"sources": [*_sources(info), *json.loads(out)]}
    return await bus.api(f"STREAM.UPDATE.{config['name']}", config)


async def _take_out(bus: Bus, info: dict[str, Any], api: str, rack: str) -> dict[str, Any]:
    """Stop a source, leave a mark of where it stood, and give the stream's info afterwards.

    While a source runs, its position keeps moving; the mark holds one that it surely had, and from which
    message of the hub on to look for what it took since. If we are killed now, the mark is still there.
    """
    hub_seq = info["state"]["last_seq"]
    config = info["config"]
    now = await bus.api(f"STREAM.INFO.{config['name']}")
    taken = max(
        (one.get("seq", 0) for one in now.get("sources", []) if source_api(one) == api),
        default=0,
    )
    if not taken:  # a source that was not heard from since the hub started does not say
        taken = await _newest(bus, info, rack, next(one for one in _sources(info) if source_api(one) == api))
    config.setdefault("metadata", {})[_key(rack)] = json.dumps({"taken": taken, "hub_seq": hub_seq})
    config["sources"] = [one for one in _sources(info) if source_api(one) != api]
    return await bus.api(f"STREAM.UPDATE.{config['name']}", config)


async def _last_taken(bus: Bus, info: dict[str, Any], rack: str, mark: dict[str, int]) -> int:
    """Give the last sequence of the leaf's stream that the hub holds from `rack`."""
    taken = mark["taken"]
    for seq in range(mark["hub_seq"] + 1, info["state"]["last_seq"] + 1):
        headers = await _headers_at(bus, info["config"]["name"], seq)
        if headers.get(RACK) == rack:
            taken = max(taken, int(headers[_SOURCE_HEADER].split(" ")[1]))
    return taken


async def _newest(bus: Bus, info: dict[str, Any], rack: str, source: dict[str, Any]) -> int:
    """Give the last sequence that the hub holds through `source`, by looking back in its stream."""
    state = info["state"]
    for seq in range(state["last_seq"], state["first_seq"] - 1, -1):
        headers = await _headers_at(bus, info["config"]["name"], seq)
        if headers.get(RACK) == rack:
            return int(headers[_SOURCE_HEADER].split(" ")[1])
    return int(source.get("opt_start_seq", 1)) - 1


def _source(rack: str, stream: str, subject: str, start_seq: int) -> dict[str, Any]:
    """Give a source as the server keeps it. Transforms onto themselves let a source take several filters.

    `start_seq` must always be said: without it, a source added to a stream that holds messages of others
    leaves out what its own leaf holds already (nats-server 2.15). The server finds its place again after a
    restart by looking for the last message that came through the same filters; the third one, which no
    message matches, keeps it from finding one of an earlier time when the Rack had the same prefix. It is
    secret to that Rack: who knows the filters can forge the header by which the server knows the position.
    """
    filters = (subject, f"{subject}.>", f"fluxrig.from.{start_seq}.{secrets.token_hex(16)}")
    return {
        "name": stream,
        "opt_start_seq": start_seq,
        "external": {"api": f"$JS.{rack}.API", "deliver": f"deliver.{rack}"},
        "subject_transforms": [{"src": name, "dest": name} for name in filters],
    }


async def _headers_at(bus: Bus, stream: str, seq: int) -> dict[str, str]:
    """Give the headers of a message; none where a trim has left a hole."""
    message = await _message(bus, stream, {"seq": seq})
    return parse_block(base64.b64decode(message.get("hdrs", ""))) if message else {}


async def _last_seq(bus: Bus, stream: str, subject: str) -> int:
    message = await _message(bus, stream, {"last_by_subj": subject})
    return int(message["seq"]) if message else 0


async def _message(bus: Bus, stream: str, which: dict[str, Any]) -> dict[str, Any] | None:
    try:
        answer = await bus.api(f"STREAM.MSG.GET.{stream}", which)
    except ApiError as error:
        if error.code != _NO_MESSAGE:
            raise
        return None
    message: dict[str, Any] = answer["message"]
    return message


def _root(stream: str, rack: str, prefix: str) -> str:
    return f"{SUBJECTS[stream]}.{rack if stream == DEAD else prefix.replace('/', '.')}"


def _subject(source: dict[str, Any]) -> str:
    return str((source.get("subject_transforms") or [{}])[0].get("src", ""))


def _sources(info: dict[str, Any]) -> list[dict[str, Any]]:
    return info["config"].get("sources") or []


def source_api(source: dict[str, Any]) -> str:
    """Give the API prefix of the leaf that a source takes from, which tells sources apart."""
    return str((source.get("external") or {}).get("api", ""))


def _key(rack: str) -> str:
    return f"fluxrig.source.{rack}"
