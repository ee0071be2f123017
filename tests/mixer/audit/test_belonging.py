"""No Rack speaks for another: what does not fit the source that it came by is put aside, with the reason."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from fluxrig.bus import Source, Stored, mark_of
from fluxrig.codec import encode_sequence
from fluxrig.message import ERROR
from mixer.audit.origin import MAX_LEAVES, Marks
from mixer.audit.tables import MESSAGES, QUARANTINE, SAMPLES
from mixer.audit.tabulate import Tabulated, tabulate

from .stream import RACK, message, stored

MALLORY = "mallory"
ITS_PATH = "acme/lyon/mallory"
SOURCE = Source(mark_of(MALLORY), "fluxrig.uns.acme.lyon.mallory")


def its(number: int, **fields: Any) -> Any:
    return message(number, **{"src": f"{MALLORY}/tap", "uns": ITS_PATH} | fields)


def sent(seq: int, *messages: Any, first: int = 0, **changed: Any) -> Stored:
    """What the hub stored through Mallory's source; the rest is as Mallory likes."""
    usual = stored(seq, messages, first, leaf="leaf-m")
    headers = {**usual.headers, "Fluxrig-Rack": MALLORY, **changed.pop("headers", {})}
    return replace(usual, headers=headers, **{"source": SOURCE} | changed)


def reasons(run: Tabulated) -> list[str]:
    batches = [batch for (name, _), some in run.batches.items() if name == "quarantine" for batch in some]
    return [reason for batch in batches for reason in batch["reason"].to_pylist()]


FORGED: dict[str, tuple[Callable[[], Stored], str]] = {
    "a neighbour's name": (lambda: sent(1, its(1), headers={"Fluxrig-Rack": RACK}), "not that of Rack"),
    "no name": (lambda: sent(1, its(1), headers={"Fluxrig-Rack": ""}), "not that of Rack"),
    "a neighbour's subject": (
        lambda: sent(1, its(1, uns="acme/lyon/press")),
        "fluxrig.uns.acme.lyon.press is outside of",
    ),
    "a subject that begins alike": (lambda: sent(1, its(1, uns=f"{ITS_PATH}-2")), "is outside of"),
    "a neighbour's src": (
        lambda: sent(1, its(1), its(2, src=f"{RACK}/press")),
        "names 'press-line-3/press' as its source",
    ),
    "a neighbour's asset": (
        lambda: sent(1, its(1), its(2, uns="acme/lyon/press")),
        "of the asset 'acme/lyon/press' is not of the subject",
    ),
    "an asset that is written alike": (
        lambda: sent(1, its(1, uns="acme.lyon/mallory"), subject=f"{SOURCE.root}"),
        "of the asset 'acme.lyon/mallory' is not of the subject",
    ),
    "no source": (lambda: sent(1, its(1), source=None), "does not say by which source"),
    "readings among dead letters": (
        lambda: sent(
            1,
            its(1, uns="acme/lyon/press"),
            subject="fluxrig.dead.mallory.tap",
            source=Source(mark_of(MALLORY), "fluxrig.dead.mallory"),
        ),
        "is no dead letter",
    ),
}


@pytest.mark.parametrize("how", FORGED)
@pytest.mark.parametrize("many", [1, 100])
def test_what_is_forged_is_put_aside(how: str, many: int) -> None:
    """Whatever a Rack forges has no row but one of the quarantine, with its bytes and the reason.

    Messages around it have theirs, whether they are read one by one or many together.
    """
    make, reason = FORGED[how]
    forged = replace(make(), seq=2)
    before, after = (stored(seq, [message(n) for n in range(many)], seq * many) for seq in (1, 3))
    run = tabulate("UNS", [before, forged, after], Marks())
    assert (run.rows(MESSAGES), run.rows(SAMPLES)) == (2 * many, 2 * many)
    assert len(reasons(run)) == 1
    assert reason in reasons(run)[0]
    payloads = [one["payload"].to_pylist() for one in run.batches["quarantine", "2026-11-21"]]
    assert payloads == [[forged.payload]]


def test_a_rack_can_not_use_up_the_numbers_of_a_neighbours_leaf() -> None:
    """With a neighbour's leaf id a Rack gets no row; what the neighbour sends next under it has its rows."""
    marks = Marks()
    tabulate("UNS", [stored(1, [message(0)], 0)], marks)
    numbers = {"Fluxrig-Seq": "1", "Fluxrig-Count": "999999"}
    stolen = sent(2, its(1), headers={"Fluxrig-Leaf": "leaf-a", **numbers})
    run = tabulate("UNS", [stolen, stored(3, [message(1)], 1)], marks)
    assert (run.rows(MESSAGES), run.rows(QUARANTINE)) == (1, 1)
    assert "leaf-a" in reasons(run)[0]
    aside = run.batches["quarantine", "2026-11-21"][0]
    assert aside["leaf"].to_pylist() == aside["leaf_seq"].to_pylist() == [None]
    assert marks == {f"{RACK}/leaf-a": 1}


def test_a_message_with_its_racks_own_source_has_its_row() -> None:
    """At the prefix itself and below it, and dead letters of any asset."""
    letter = its(3, schema=ERROR, uns="elsewhere/altogether")
    dead = Source(mark_of(MALLORY), "fluxrig.dead.mallory")
    items = [
        sent(1, its(1)),
        sent(2, its(2, uns=f"{ITS_PATH}/deeper/asset"), first=1),
        sent(3, letter, subject="fluxrig.dead.mallory.tap", source=dead, first=2),
    ]
    run = tabulate("UNS", items, Marks())
    assert (run.rows(MESSAGES), reasons(run)) == (3, [])


def test_a_rack_has_a_bounded_number_of_leaves() -> None:
    """New leaf ids without end, each of which would be kept for good, are put aside from some number on."""
    marks = Marks({f"{MALLORY}/old-{n}": 0 for n in range(MAX_LEAVES)})
    run = tabulate("UNS", [sent(1, its(1)), stored(2, [message(1)], 1)], marks)
    assert (run.rows(MESSAGES), run.rows(QUARANTINE)) == (1, 1)
    assert len(marks) == MAX_LEAVES + 1


def test_bytes_that_are_no_message_keep_their_place() -> None:
    """What an honest Rack's leaf held damaged is put aside under its numbers, so that the ledger balances."""
    bad = replace(sent(1, its(1)), payload=encode_sequence([its(1)])[:-1])
    run = tabulate("UNS", [bad], Marks())
    assert run.batches["quarantine", "2026-11-21"][0]["leaf_seq"].to_pylist() == [0]
    assert run.marks == {f"{MALLORY}/leaf-m": 0}
