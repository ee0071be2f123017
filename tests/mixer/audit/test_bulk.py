"""Messages that are read column by column give the rows that they give one by one."""

import math
import random
import struct
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from fluxrig.codec import decode_strict, encode
from fluxrig.errors import CborError
from fluxrig.message import FluxMsg
from mixer.audit.bulk.decode import Decoded, decode
from mixer.audit.bulk.pieces import Pieces, cut
from mixer.audit.columns import derive
from mixer.audit.derived import derived
from mixer.audit.order import in_order
from mixer.audit.parquet import arrange

from .stream import NOON_NS, message

SEEDS = st.integers(0, 1 << 64)
UNTIMED = settings(deadline=None)
TAGS = ("a", "bb", 'c"', "d\u00e9", "e" * 30)
OPTIONAL = ("meta", "raw", "ref", "trace", "path", "flags")
KINDS = ("int", "float", "bool", "text", "none", "list", "bytes")


def number(dice: random.Random) -> int:
    return dice.choice((1, -1)) * dice.getrandbits(dice.choice((3, 5, 8, 9, 16, 17, 32, 33, 63, 64, 66)))


def real(dice: random.Random) -> float:
    form = dice.choice("efd")
    drawn: float = struct.unpack(f">{form}", dice.randbytes(struct.calcsize(f">{form}")))[0]
    return dice.choice((drawn, drawn, round(dice.uniform(-1e4, 1e4), 2), float(number(dice)), math.nan, -0.0))


def text(dice: random.Random) -> str:
    return "".join(dice.choices('ab"\\\n\u00e9\u20ac\U0001f600\0', k=dice.choice((0, 1, 2, 30, 300))))


def value(dice: random.Random, kind: str) -> Any:
    return {
        "int": number,
        "float": real,
        "bool": lambda _: dice.random() < 0.5,
        "text": text,
        "none": lambda _: None,
        "list": lambda _: [number(dice), text(dice)],
        "bytes": lambda _: dice.randbytes(3),
    }[kind](dice)


def batch(seed: int) -> list[bytes]:
    """Messages of a few kinds, as gears make them, mixed."""
    dice = random.Random(seed)
    kinds = [
        (
            {tag: dice.choice(KINDS) for tag in dice.sample(TAGS, dice.randint(0, 4))},
            dice.sample(OPTIONAL, dice.randint(0, 3)),
            dice.choice(("fluxrig.tags/1", "fluxrig.tags/1", "x/1")),
        )
        for _ in range(dice.randint(1, 3))
    ]
    return [encode(of_kind(dice, n, *dice.choice(kinds))) for n in range(dice.randint(1, 40))]


def of_kind(dice: random.Random, n: int, tags: dict[str, str], also: Sequence[str], schema: str) -> FluxMsg:
    optional = {
        "meta": {"unit.a": "bar", "quality.bb": "stale"},
        "raw": dice.randbytes(dice.choice((1, 30, 300))),
        "ref": dice.randbytes(16),
        "trace": dice.randbytes(24),
        "path": [["r/a", dice.getrandbits(dice.choice((8, 33, 64)))], ["r/b", 1 << 40]],
        "flags": 3,
    }
    data = {tag: value(dice, kind) for tag, kind in tags.items()}
    ts = dice.choice((NOON_NS + n, dice.getrandbits(dice.choice((4, 32, 64)))))
    return message(n, data, ts=ts, schema=schema, **{name: optional[name] for name in also})


def together(encoded: Iterable[bytes]) -> Pieces:
    sizes = np.cumsum([0, *map(len, encoded)], dtype=np.int64)
    return Pieces.of(encoded, sizes[:-1], sizes[1:])


def tables(pieces: Pieces, decoded: Decoded) -> dict[str, pa.Table]:
    """All rows that follow from some messages, in their final order, floats as their bits."""
    columns = derive(pieces, decoded) | {"stream_seq": pa.array(range(len(pieces)), pa.int64())}
    made: dict[str, Any] = {"messages": [pa.RecordBatch.from_pydict(columns)]}
    for table, batch in derived(decoded, columns):
        made.setdefault(table, []).append(batch)
    return {
        "messages": pa.Table.from_batches(made.pop("messages")),
        **{table.name: bits(arrange(table, some)) for table, some in made.items()},
    }


def bits(table: pa.Table) -> pa.Table:
    arrays = [
        column.combine_chunks().view(pa.int64()) if pa.types.is_floating(column.type) else column
        for column in table.columns
    ]
    return pa.table(arrays, table.column_names)


def one_by_one(pieces: Pieces) -> Decoded:
    return decode(pieces, least_rows=len(pieces) + 1)


@UNTIMED
@given(SEEDS)
def test_rows_of_many_are_the_rows_of_each(seed: int) -> None:
    """Whatever the values: every column and every derived row is the same, bit by bit."""
    pieces = together(batch(seed))
    bulk = decode(pieces, least_rows=1)
    assert sorted([*bulk.fields, *(row for group in bulk.groups for row in group.rows)]) == [
        *range(len(pieces))
    ]
    assert tables(pieces, bulk) == tables(pieces, one_by_one(pieces))


def test_messages_of_one_kind_are_taken_together() -> None:
    """Values of any width, quiet and busy tags: one group, and no message is decoded by itself."""
    values = [0, 23, 24, -1, -300, 70_000, 1 << 40, -(1 << 63)]
    floats = [0.5, 1e300, 1.1, math.nan, -0.0, 3.1415927410125732]
    encoded = [
        encode(message(n, {"i": values[n % 8], "f": floats[n % 6], "b": n % 3 == 0, "t": "é" * (n % 5)}))
        for n in range(200)
    ]
    decoded = decode(together(encoded))
    assert (len(decoded.groups), decoded.fields, decoded.bad) == (1, {}, [])


def damaged(seed: int) -> list[bytes]:
    """Messages of a few kinds, of which some were changed in a few bytes."""
    dice, encoded = random.Random(seed), [bytearray(one) for one in batch(seed)]
    for one in dice.choices(encoded, k=dice.randint(0, 8)):
        for _ in range(dice.randint(1, 3)):
            place = dice.randrange(len(one) or 1)
            one[place : place + 1] = dice.randbytes(dice.choice((0, 1, 1, 1, 2)))
    return [bytes(one) for one in encoded if one]


@UNTIMED
@given(SEEDS)
def test_what_is_refused_alone_is_refused_among_many(seed: int) -> None:
    """Strictness does not depend on the company: the same messages are bad, the others have the same rows."""
    encoded = damaged(seed)
    pieces = together(encoded)
    bulk = decode(pieces, least_rows=1)
    assert sorted(bulk.bad) == [row for row, one in enumerate(encoded) if not is_message(one)]
    good = pieces.take([row for row in range(len(encoded)) if row not in set(bulk.bad)])
    assert tables(good, decode(good, least_rows=1)) == tables(good, one_by_one(good))


def is_message(data: bytes) -> bool:
    try:
        decode_strict(data)
    except CborError:
        return False
    return True


LONGER = [
    (b"\x01", b"\x18\x01"),
    (b"\x18\x2a", b"\x19\x00\x2a"),
    (b"\x19\x01\x2c", b"\x1a\x00\x00\x01\x2c"),
    (b"\x1a\x00\x01\x00\x00", b"\x1b" + struct.pack(">Q", 65536)),
    (b"\x39\x01\x2c", b"\x3a\x00\x00\x01\x2c"),
    (b"\xf9\x3c\x00", b"\xfa" + struct.pack(">f", 1)),
    (b"\xf9\x3c\x00", b"\xfb" + struct.pack(">d", 1)),
    (b"\xfa" + struct.pack(">f", 0.1875 + 2**-20), b"\xfb" + struct.pack(">d", 0.1875 + 2**-20)),
    (b"\xf9\x7e\x00", b"\xf9\x7e\x01"),
    (b"\xf9\x7e\x00", b"\xfa\x7f\xc0\x00\x00"),
    (b"\xf9\x7e\x00", b"\xfb\x7f\xf8" + bytes(6)),
    (b"\x61x", b"\x78\x01x"),
    (b"\x61x", b"\x61\xff"),
    (b"\x61x", b"\x7a\xff\xff\xff\xffx"),
    (b"\x61x", b"\x7b" + b"\xff" * 8),
    (b"\xf5", b"\xf8\x15"),
    (b"\x01", b"\x1c"),
    (b"\x61x", b"\x7f\x61x\xff"),
]  # fmt: skip


@pytest.mark.parametrize(("canonical", "other"), LONGER)
def test_a_value_in_another_form_is_no_message(canonical: bytes, other: bytes) -> None:
    """Each form that RFC 8949 §4.2.1 excludes is refused in the middle of messages that are right."""
    plain = encode(message(1, {"a": None}))
    assert plain.count(b"\x61a\xf6") == 1
    right, wrong = (
        plain.replace(b"\x61a\xf6", b"\x61a" + canonical),
        plain.replace(b"\x61a\xf6", b"\x61a" + other),
    )
    encoded = [right] * 70 + [wrong] + [right] * 70
    decoded = decode(together(encoded))
    assert (decoded.bad, len(decoded.groups), decoded.fields) == ([70], 1, {})


@UNTIMED
@given(st.lists(SEEDS.map(batch), max_size=3))
@example([[encode(message(1, {"x": b"\xa5\x62id\x50" + bytes(16)}))]])
def test_payloads_are_cut_where_messages_begin(payloads: list[list[bytes]]) -> None:
    """Every message begins a piece; more pieces come only of a value that looks like a message."""
    pieces, counts = cut([b"".join(encoded) for encoded in payloads])
    assert len(counts) == len(payloads)
    assert b"".join(pieces.to_list()) == b"".join(b"".join(encoded) for encoded in payloads)
    if b"\x62id\x50" not in b"".join(one[5:] for encoded in payloads for one in encoded):
        assert pieces.to_list() == [one for encoded in payloads for one in encoded]
        assert counts.tolist() == [len(encoded) for encoded in payloads]


ROWS = st.lists(
    st.tuples(st.sampled_from("ab"), st.sampled_from("xyz"), st.one_of(st.none(), st.integers(0, 5)))
)


@UNTIMED
@given(ROWS, st.integers(1, 80))
def test_runs_are_moved_to_where_a_sort_puts_their_rows(
    rows: list[tuple[str, str, int | None]], each: int
) -> None:
    """By texts, then time, without a time last; rows that are alike stay as they came."""
    long = [(*row, n) for row in rows for n in range(each)]
    schema = pa.schema(
        [("uns", pa.string()), ("tag", pa.string()), ("ts", pa.timestamp("ns", "UTC")), ("n", pa.int64())]
    )
    table = pa.Table.from_pylist([dict(zip(schema.names, row, strict=True)) for row in long], schema)
    expected = sorted(long, key=lambda row: (row[0], row[1], math.inf if row[2] is None else row[2]))
    found = in_order(table, ("uns", "tag"), "ts")
    times = found["ts"].cast(pa.int64()).to_pylist()
    assert [
        *zip(found["uns"].to_pylist(), found["tag"].to_pylist(), times, found["n"].to_pylist(), strict=True)
    ] == expected
