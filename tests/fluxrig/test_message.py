"""The message and its ids."""

from __future__ import annotations

import pickle
import threading
import uuid
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fluxrig.message import OPTIONAL, REQUIRED, FluxMsg, IdMaker, new_id

PLAIN: dict[str, Any] = {"id": bytes(16), "ts": 7, "src": "r/g", "uns": "a/b", "schema": "fluxrig.tags/1"}
FULL: dict[str, Any] = {
    **PLAIN,
    "data": {"a": 1},
    "meta": {"unit.a": "bar"},
    "raw": b"r",
    "ref": bytes(16),
    "trace": bytes(24),
    "path": [["r/g", 8]],
    "flags": 3,
}


def test_fields_at_their_default_are_absent() -> None:
    """A default takes no byte: fields given as empty are as those not given."""
    empty = FluxMsg(**PLAIN, data={}, meta={}, raw=b"", ref=None, trace=None, path=[], flags=0)
    assert empty == FluxMsg(**PLAIN)
    assert set(empty.fields) == set(REQUIRED)


def test_every_field_can_be_read() -> None:
    """Each field has a property; an absent one reads as its default."""
    full, plain = FluxMsg(**FULL), FluxMsg(**PLAIN)
    assert {name: getattr(full, name) for name in REQUIRED + OPTIONAL} == FULL
    assert [getattr(plain, name) for name in OPTIONAL] == [{}, {}, b"", None, None, (), 0]


def test_replace_gives_a_copy() -> None:
    """Changing a field makes another message and leaves the first; a default takes the field away."""
    message = FluxMsg(**FULL)
    other = message.replace(flags=0, ts=9)
    assert (other.ts, "flags" in other.fields) == (9, False)
    assert message == FluxMsg(**FULL)


def test_messages_are_values() -> None:
    """Equal fields are equal messages with the same hash, and nothing else is equal to a message."""
    assert FluxMsg(**FULL) == FluxMsg(**FULL)
    assert hash(FluxMsg(**FULL)) == hash(FluxMsg(**FULL))
    assert FluxMsg(**FULL) != FluxMsg(**PLAIN)
    assert FluxMsg(**PLAIN) != PLAIN


def test_messages_cross_processes() -> None:
    """A message can be pickled, and shows its fields to a person."""
    message = FluxMsg(**FULL)
    assert pickle.loads(pickle.dumps(message)) == message  # noqa: S301 - our own bytes
    assert "src='r/g'" in repr(message)


@given(st.integers(0, (1 << 48) * 1_000_000 - 1))
def test_ids_are_uuid_version_7(now_ns: int) -> None:
    """An id has the version, the variant and the millisecond of RFC 9562 §5.7."""
    ident = uuid.UUID(bytes=IdMaker()(now_ns))
    assert (ident.variant, ident.int >> 76 & 15) == (uuid.RFC_4122, 7)
    assert ident.int >> 80 == now_ns // 1_000_000


@given(st.lists(st.integers(0, 10**16), min_size=2, max_size=50))
def test_ids_only_grow(times: list[int]) -> None:
    """Within a millisecond, and when the clock steps back, the next id is still greater."""
    make = IdMaker()
    ids = [make(now_ns) for now_ns in times]
    assert ids == sorted(set(ids))


def test_many_ids_in_one_millisecond() -> None:
    """A hundred thousand ids in the same millisecond are all different and in order."""
    make = IdMaker()
    ids = [make(1_000_000) for _ in range(100_000)]
    assert ids == sorted(set(ids))
    assert {ident[:6] for ident in ids} == {(1).to_bytes(6)}


def test_ids_of_several_threads_differ() -> None:
    """Threads that share the maker never get the same id."""
    made: list[list[bytes]] = [[] for _ in range(4)]
    threads = [
        threading.Thread(target=lambda ids=ids: ids.extend(new_id(5) for _ in range(2000))) for ids in made
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len({ident for ids in made for ident in ids}) == 8000


def test_two_makers_do_not_meet() -> None:
    """Ids made at the same time on two machines differ: the rest of the id is random."""
    first, second = IdMaker(), IdMaker()
    assert not {first(1_000_000) for _ in range(1000)} & {second(1_000_000) for _ in range(1000)}


@pytest.mark.parametrize("now_ns", [0, -1])
def test_a_machine_without_a_clock_makes_different_ids(now_ns: int) -> None:
    """Two devices that wake in 1970, or before, don't make the same ids."""
    assert IdMaker()(now_ns) != IdMaker()(now_ns)
    assert IdMaker()(now_ns)[:6] == bytes(6)


def test_a_time_that_an_id_can_not_say_is_refused() -> None:
    """A time after the year 10889 gives an error, never an id with wrong bits."""
    with pytest.raises(OverflowError):
        IdMaker()((1 << 48) * 1_000_000)
