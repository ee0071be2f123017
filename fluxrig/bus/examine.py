"""Look at a leaf's stream when it is opened: is all there that was there before?

A store loses messages when its files are damaged, or when a power cut takes what was not synced. nats-server
goes on with what it can still read. Then two things must not happen: that a loss stays unsaid, and that
sequences or numbers are given out a second time, which the hub would take for what it has already.
"""

from __future__ import annotations

import base64
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from fluxrig.bus.connection import ApiError, Bus
from fluxrig.bus.headers import COUNT, LEAF, SEQ, parse_block
from fluxrig.bus.leaf_record import LeafRecord, Loss, boot_id
from fluxrig.bus.streams import LEAF_ID

_NO_MESSAGE = 10037


@dataclass(frozen=True, slots=True)
class Place:
    """One message of a leaf's stream: its sequence, whose numbers it has, and those of its fluxMsgs."""

    seq: int
    leaf: str
    number: int
    count: int
    time: str
    """When it was stored, RFC 3339."""
    headers: Mapping[str, str]

    @property
    def after(self) -> int:
        """The number that follows."""
        return self.number + self.count


async def place(bus: Bus, stream: str, seq: int) -> Place | None:
    """Give the first message at or behind `seq` that can be read; None where there is none."""
    try:
        found = await bus.api(f"STREAM.MSG.GET.{stream}", {"seq": seq, "next_by_subj": ">"})
    except ApiError as error:
        if error.code != _NO_MESSAGE:
            raise
        return None
    message = found["message"]
    headers = parse_block(base64.b64decode(message.get("hdrs", "")))
    numbers = int(headers.get(SEQ, 0)), int(headers.get(COUNT, 0))
    return Place(message["seq"], headers.get(LEAF, ""), *numbers, message.get("time", ""), headers)


@dataclass(frozen=True, slots=True)
class Findings:
    """What is wrong with a stream."""

    losses: tuple[Loss, ...] = ()
    holes: tuple[tuple[int, int], ...] = ()
    went_back: bool = False
    """Its end may be before sequences that were given out."""


async def examine(
    bus: Bus, stream: str, info: dict[str, Any], record: LeafRecord, *, synced: bool
) -> Findings:
    """Compare a stream with its record. `synced`: a message was on the disk before it counted as stored."""
    if not record.known:
        return Findings()
    state, leaf = info["state"], info["config"].get("metadata", {}).get(LEAF_ID, "")
    if leaf != record.leaf:  # the stream was made anew
        lost = Loss(record.leaf, record.confirmed, record.next_number - 1, "disk")
        return Findings((lost,) if lost.count > 0 else ())
    holes = [hole async for hole in _holes(bus, stream, state) if hole not in record.holes]
    losses = [loss for hole in holes if (loss := await _lost_in(bus, stream, hole, state["last_seq"]))]
    ends_in_hole = any(last >= state["last_seq"] for _, last in holes)
    went_back = ends_in_hole or state["last_seq"] < record.last_seq
    if went_back and (loss := await _lost_at_the_end(bus, stream, state, holes, record)):
        losses.append(loss)
    if not synced and record.boot and record.boot != boot_id():
        went_back = True
    return Findings(tuple(losses), tuple(holes), went_back)


async def _holes(bus: Bus, stream: str, state: dict[str, Any]) -> Any:
    """Give the runs of sequences between the first and the last one that are gone."""
    if not state.get("num_deleted"):
        return
    info = await bus.api(f"STREAM.INFO.{stream}", {"deleted_details": True})
    for run in runs(info["state"].get("deleted") or []):
        yield run


def runs(numbers: list[int]) -> Iterator[tuple[int, int]]:
    """Give each run of consecutive numbers, first and last; the numbers are in order."""
    first = last = -2
    for number in numbers:
        if number != last + 1:
            if last >= 0:
                yield first, last
            first = number
        last = number
    if last >= 0:
        yield first, last


async def _lost_in(bus: Bus, stream: str, hole: tuple[int, int], last_seq: int) -> Loss | None:
    """Give the numbers that were in a hole with messages of the same leaf on both sides."""
    if hole[1] >= last_seq:
        return None
    before, behind = await place(bus, stream, hole[0] - 1), await place(bus, stream, hole[1] + 1)
    if before is None or behind is None or before.seq >= hole[0] or before.leaf != behind.leaf:
        return None
    lost = Loss(before.leaf, before.after, behind.number - 1, "disk")
    return lost if lost.count > 0 else None


async def _lost_at_the_end(
    bus: Bus, stream: str, state: dict[str, Any], holes: list[tuple[int, int]], record: LeafRecord
) -> Loss | None:
    """Give the numbers between the last message that is left and what was given out, as far as is known."""
    last = min([first - 1 for first, end in holes if end >= state["last_seq"]] + [state["last_seq"]])
    left = await place(bus, stream, last) if state["messages"] else None
    if left is not None and left.leaf != record.leaf:
        return None
    first = max(left.after if left else 0, record.confirmed)
    lost = Loss(record.leaf, first, record.next_number - 1, "disk")
    return lost if lost.count > 0 else None
