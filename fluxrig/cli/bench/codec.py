"""`fluxrig bench codec`: how many messages a second the codec takes, beside cbor2 in the same run."""

from __future__ import annotations

import gc
import struct
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import Annotated, Any, Final

import typer

from fluxrig.cli.console import JsonOption, print_json
from fluxrig.message import FluxMsg, new_id

MESSAGES: Final = 500
"""Different messages in one round: no two have the same id, time or pressure."""

_EPOCH_NS: Final = 1_763_713_267_123_456_789
_TITLES: Final = {
    "encode_msgs_per_s": "encode",
    "decode_msgs_per_s": "decode",
    "strict_decode_msgs_per_s": "strict decode",
    "cbor2_canonical_msgs_per_s": "cbor2 encode, canonical",
    "cbor2_decode_msgs_per_s": "cbor2 decode",
}


def codec(
    as_json: JsonOption = False,
    seconds: Annotated[
        float, typer.Option(min=0.05, max=600, help="How long to measure, all contenders together.")
    ] = 5.0,
) -> None:
    """Measure encoding and decoding of the 236-byte telemetry message, on one core.

    The contenders take turns, each with the same messages; the figure is that of a contender's best turn,
    which other programs on the machine disturbed least. Garbage collection is off in a turn, as in timeit.
    """
    from fluxrig.codec import encode

    rates = measure(seconds)
    if as_json:
        print_json({name: round(rate) for name, rate in rates.items()})
        return
    typer.echo(f"messages of {len(encode(telemetry(0)))} bytes, the best of all turns in {seconds:g} s")
    for name, title in _TITLES.items():
        typer.echo(f"  {title:24} {rates[name]:>10,.0f} messages/s")


def telemetry(number: int) -> FluxMsg:
    """Make the `number`th telemetry message: ten fields, three tags, 236 bytes encoded."""
    ts = _EPOCH_NS + number * 100_000_000
    pressure: float = struct.unpack(">f", struct.pack(">f", 4.2 + number * 0.0371))[0]
    return FluxMsg(
        id=new_id(ts),
        ts=ts,
        src="rack-3/press",
        uns="acme/lyon/stamping/line-3/press",
        schema="fluxrig.tags/1",
        data={"pressure": pressure, "running": number % 7 > 0, "spm": 30 + number % 60},
        meta={"unit.pressure": "bar"},
        trace=number.to_bytes(24),
        path=[["rack-3/press", ts + 800_000]],
        flags=1,
    )


def measure(seconds: float) -> dict[str, float]:
    """Give the messages a second of every contender."""
    turns = _contenders([telemetry(number) for number in range(MESSAGES)])
    best = dict.fromkeys(turns, float("inf"))
    end = time.perf_counter() + seconds
    while True:
        for name, turn in turns.items():
            best[name] = min(best[name], _time(turn))
        if time.perf_counter() >= end:
            return {name: MESSAGES / best[name] for name in _TITLES}


def _contenders(messages: Sequence[FluxMsg]) -> Mapping[str, Callable[[], Iterator[Any]]]:
    import cbor2

    from fluxrig.codec import decode, decode_strict, encode

    encoded = list(map(encode, messages))
    fields = [message.fields for message in messages]
    canonical = partial(cbor2.dumps, canonical=True)
    return {
        "encode_msgs_per_s": lambda: map(encode, messages),
        "cbor2_canonical_msgs_per_s": lambda: map(canonical, fields),
        "decode_msgs_per_s": lambda: map(decode, encoded),
        "cbor2_decode_msgs_per_s": lambda: map(cbor2.loads, encoded),
        "strict_decode_msgs_per_s": lambda: map(decode_strict, encoded),
    }


def _time(turn: Callable[[], Iterator[Any]]) -> float:
    """Time one turn, in seconds; what it makes is dropped at once."""
    gc.disable()
    try:
        start = time.perf_counter()
        deque(turn(), maxlen=0)
        return time.perf_counter() - start
    finally:
        gc.enable()
