"""Every stored message becomes rows that analysts can use, whatever it holds."""

import json
import math
from dataclasses import replace
from hashlib import sha256
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fluxrig.codec import encode
from mixer.audit.origin import Marks
from mixer.audit.tables import MESSAGES, QUARANTINE, SAMPLES
from mixer.audit.tabulate import Tabulated, tabulate
from mixer.audit.values import json_text, sample

from .stream import NOON_NS, RACK, message, stored


def table(run: Tabulated, wanted: str) -> list[dict[str, Any]]:
    """The rows of a table, times as integers."""
    batches = [batch for (name, _), some in run.batches.items() if name == wanted for batch in some]
    return [row for batch in batches for row in _with_integer_times(batch).to_pylist()]


def _with_integer_times(batch: pa.RecordBatch) -> pa.RecordBatch:
    arrays = [
        column.cast(pa.int64()) if pa.types.is_timestamp(column.type) else column for column in batch.columns
    ]
    return pa.RecordBatch.from_arrays(arrays, batch.schema.names)


def test_a_message_is_one_row_with_its_place_and_its_evidence() -> None:
    """The row holds every field, where the message stands on hub and leaf, and its canonical bytes."""
    sent = message(
        7,
        {"pressure": 1.5},
        meta={"unit.pressure": "bar"},
        ref=bytes(range(16)),
        trace=bytes(range(24)),
        raw=b"\x01\x03",
        flags=1,
    )
    run = tabulate("UNS", [stored(41, [message(6), sent], 6)], Marks())
    assert table(run, "messages")[1] == {
        "stream": "UNS",
        "stream_seq": 41,
        "leaf": "leaf-a",
        "leaf_seq": 7,
        "id": "00000000-0000-0000-0000-000000000007",
        "ts": NOON_NS + 7,
        "received": NOON_NS,
        "rack": RACK,
        "gear": "press",
        "uns": "acme/lyon/press",
        "schema": "fluxrig.tags/1",
        "ref": "00010203-0405-0607-0809-0a0b0c0d0e0f",
        "trace": "000102030405060708090a0b0c0d0e0f-1011121314151617",
        "meta": '{"unit.pressure":"bar"}',
        "data": '{"pressure":1.5}',
        "raw": b"\x01\x03",
        "cbor": encode(sent),
        "sha256": sha256(encode(sent)).digest(),
        "flags": 1,
    }


def test_each_tag_is_a_sample() -> None:
    """A tag's value comes with its unit and quality; one that could not be read is null and not good."""
    data = {"p": 1.5, "run": True, "mode": "auto", "count": 2**60, "gone": None, "old": 3, "huge": 2**70}
    meta = {"unit.p": "bar", "quality.gone": "bad:timeout", "quality.old": "stale"}
    run = tabulate("UNS", [stored(1, [message(1, data, meta=meta)], 1)], Marks())
    found = {
        row["tag"]: tuple(
            row[name] for name in ("value", "value_int", "value_bool", "text", "quality", "unit")
        )
        for row in table(run, "samples")
    }
    assert found == {
        "p": (1.5, None, None, None, "good", "bar"),
        "run": (1.0, None, True, None, "good", None),
        "mode": (None, None, None, "auto", "good", None),
        "count": (float(2**60), 2**60, None, None, "good", None),
        "gone": (None, None, None, None, "bad:timeout", None),
        "old": (3.0, 3, None, None, "stale", None),
        "huge": (float(2**70), None, None, str(2**70), "good", None),
    }


def test_only_tags_become_samples() -> None:
    """An event or a transaction has fields, not tags."""
    run = tabulate("UNS", [stored(1, [message(1, schema="ot.transaction/1")], 1)], Marks())
    assert (run.rows(MESSAGES), run.rows(SAMPLES)) == (1, 0)


def test_a_time_past_64_bits_is_null_and_disturbs_nobody() -> None:
    """A device that claims the year 2500 has its row, its bytes, and the day on which the hub stored it."""
    far = message(1, ts=2**64 - 1)
    run = tabulate("UNS", [stored(1, [far, message(2)], 1)], Marks())
    assert [row["ts"] for row in table(run, "messages")] == [None, NOON_NS + 2]
    assert table(run, "messages")[0]["cbor"] == encode(far)
    assert {day for _, day in run.batches} == {"2026-11-21"}


def test_rows_are_partitioned_by_the_day_at_the_hub() -> None:
    """Midnight between two messages makes two days, each with its own rows."""
    late = stored(1, [message(1)], 1, time_ns=NOON_NS + 12 * 3600 * 10**9 - 1)
    early = stored(2, [message(2)], 2, time_ns=NOON_NS + 12 * 3600 * 10**9)
    run = tabulate("UNS", [late, early], Marks())
    assert sorted({day for _, day in run.batches}) == ["2026-11-21", "2026-11-22"]


@pytest.mark.parametrize(
    "payload",
    [b"\xff", b"", b"\xa0", encode(message(1)) + b"\x00", encode(message(1))[:-1], b"\xbf\xff", b"\x01"],
)
def test_what_cannot_be_decoded_is_kept_with_its_bytes_and_reason(payload: bytes) -> None:
    """A bad message goes to quarantine; the ones before and behind it have their rows."""
    bad = replace(stored(2, [message(2)], 2), payload=payload)
    run = tabulate("UNS", [stored(1, [message(1)], 1), bad, stored(3, [message(3)], 3)], Marks())
    assert [row["stream_seq"] for row in table(run, "messages")] == [1, 3]
    aside = table(run, "quarantine")
    if payload:
        assert [(row["stream_seq"], row["payload"]) for row in aside] == [(2, payload)]
        assert aside[0]["reason"]
    assert (run.first, run.last) == (1, 3)


def test_what_arrow_refuses_stands_alone_in_quarantine(monkeypatch: pytest.MonkeyPatch) -> None:
    """A value that no column holds costs its own message a row, and no other's."""
    from mixer.audit import columns

    def refuse(ids: list[bytes]) -> Any:
        if any(one[-1] == 5 for one in ids):
            raise ValueError("five")
        return real(ids)

    real = columns.uuid_texts
    monkeypatch.setattr(columns, "uuid_texts", refuse)
    run = tabulate("UNS", [stored(n, [message(n)], n) for n in range(1, 9)], Marks())
    assert [row["stream_seq"] for row in table(run, "messages")] == [1, 2, 3, 4, 6, 7, 8]
    assert [row["stream_seq"] for row in table(run, "quarantine")] == [5]


def test_what_came_before_has_no_second_row() -> None:
    """A leaf that is sourced anew gives no row twice, also where the repetition ends within a message."""
    marks = Marks()
    tabulate("UNS", [stored(1, [message(n) for n in range(4)], 0)], marks)
    run = tabulate("UNS", [stored(9, [message(n) for n in range(2, 6)], 2)], marks)
    assert [row["leaf_seq"] for row in table(run, "messages")] == [4, 5]
    assert [row["reason"] for row in table(run, "quarantine")] == ["2 of 4 messages came before"]
    assert run.marks == {f"{RACK}/leaf-a": 5}


def test_leaves_are_told_apart() -> None:
    """The same numbers of another leaf are other messages."""
    marks = Marks()
    tabulate("UNS", [stored(1, [message(1)], 1)], marks)
    run = tabulate("UNS", [stored(2, [message(2)], 1, leaf="leaf-b")], marks)
    assert (run.rows(MESSAGES), run.rows(QUARANTINE)) == (1, 0)


@pytest.mark.parametrize("number", ["", "-1", "x", "9" * 40, "²"])
def test_wrong_headers_cost_no_message(number: str) -> None:
    """A message without usable headers has its row, without its place at the leaf."""
    headers = {"Fluxrig-Rack": RACK, "Fluxrig-Seq": number, "Fluxrig-Leaf": "a" * 999}
    odd = replace(stored(1, [message(1)], 1), headers=headers)
    assert [(row["leaf"], row["leaf_seq"]) for row in table(tabulate("UNS", [odd], Marks()), "messages")] == [
        (None, None)
    ]


def test_json_has_a_form_for_every_value() -> None:
    """What JSON lacks is text: bytes as hex, NaN and infinities by name, keys that are no text."""
    value = {"b": b"\x01", "n": math.nan, "i": [math.inf, -math.inf], "k": {1: "x"}, "big": 1 << 20_000}
    assert json.loads(json_text(value)) == {
        "b": "01",
        "n": "NaN",
        "i": ["Infinity", "-Infinity"],
        "k": {"1": "x"},
        "big": hex(1 << 20_000),
    }
    assert sample(1 << 20_000) == (None, None, None, hex(1 << 20_000))


@given(st.lists(st.binary(max_size=40), min_size=1, max_size=8))
def test_no_payload_stops_the_run(payloads: list[bytes]) -> None:
    """Whatever bytes the hub has, each message ends as rows or in quarantine."""
    items = [replace(stored(n, [message(n)], n), payload=payload) for n, payload in enumerate(payloads, 1)]
    run = tabulate("UNS", items, Marks())
    assert run.last == len(items)
    assert run.rows(QUARANTINE) == sum(1 for payload in payloads if payload)
