"""The document for analysts is run: each of its queries answers, and answers right."""

import re
from pathlib import Path
from typing import Any

import pytest

from fluxrig.message import FluxMsg
from mixer.audit.origin import Marks
from mixer.audit.store import AuditStore
from mixer.audit.tabulate import tabulate

from .stream import NOON_NS, message, parcels, rows

TEXT = (Path(__file__).parents[3] / "docs" / "analysts.md").read_text("utf-8")
QUERIES = re.findall(r"^([A-Z][^\n]*:)\n\n```sql\n(.*?)```", TEXT, re.MULTILINE | re.DOTALL)

MINUTE_NS = 60 * 10**9
PRESS = "acme/lyon/line-3/press"
FLOW = {"client": {"ip": "10.0.0.9", "port": 40000}, "server": {"ip": "10.0.0.5", "port": 502}}


def exchange(number: int, **data: Any) -> FluxMsg:
    fields = {"op": {"fc": 3}, "target": {"unit": 1}, "flow": FLOW, "status": "ok", **data}
    return message(number, fields, schema="ot.transaction/1", ts=NOON_NS + number)


@pytest.fixture
def audit(store: AuditStore) -> Path:
    """An hour of a press, with a gap of half an hour and a value that could not be read; some exchanges."""
    readings = [
        message(
            number,
            {"pressure": None if number == 3 else float(number), "running": number % 2 == 0},
            meta={"quality.pressure": "bad:timeout"} if number == 3 else None,
            uns=PRESS,
            ts=NOON_NS + number * 5 * MINUTE_NS + (number > 3) * 30 * MINUTE_NS,
        )
        for number in range(6)
    ]
    exchanges = [
        exchange(10, latency_us=900),
        exchange(11, latency_us=1100, target={"unit": 1, "table": "holding", "address": 7, "quantity": 1},
                 write={"values": [42]}),
        exchange(12, status="exception", exception={"code": 2, "name": "illegal_data_address"}),
        exchange(13, status="timeout", target={"unit": 9}),
    ]  # fmt: skip
    late = NOON_NS + 2 * 3600 * 10**9
    items = parcels([*readings, *exchanges], time_ns=late)
    store.commit("UNS", "2026-11-21", tabulate("UNS", items, Marks()))
    return store.folder


ANSWERS: dict[str, Any] = {
    "The last value": lambda found: (
        [row[1:4] for row in found] == [("pressure", 5.0, None), ("running", 0.0, None)]
    ),
    "One tag over": lambda found: [row[1] for row in found] == [0.0, 1.0, 2.0, None, 4.0, 5.0],
    "The mean": lambda found: [row[1:] for row in found] == [(2.4, 0.0, 5.0)],
    "Gaps": lambda found: (
        [row[1] for row in found] == ["pressure", "running"]
        and (found[0][3] - found[0][2]).total_seconds() == 35 * 60
    ),
    "What is not good": lambda found: [row[:4] for row in found] == [(PRESS, "pressure", "bad:timeout", 1)],
    "Availability": lambda found: [(row[0], row[2]) for row in found] == [(PRESS, 50.0)],
    "The slowest": lambda found: found == [("10.0.0.5:502", 1, 2, 1000.0, 1100)],
    "Who wrote": lambda found: (
        [row[1:] for row in found]
        == [("10.0.0.9:40000", "10.0.0.5:502", 1, "holding", 7, '{"values":[42]}', "ok")]
    ),
    "Exceptions": lambda found: (
        [row[:4] for row in found]
        == [("10.0.0.5:502", 1, "illegal_data_address", 1), ("10.0.0.5:502", 9, "timeout", 1)]
    ),
    "How long": lambda found: found[0][:2] == ("press-line-3", 10) and 5e6 < found[0][2] < 7.2e6,
}


def test_there_are_ten_questions() -> None:
    """Every query of the document has its answer here, and none is forgotten."""
    assert len(QUERIES) == len(ANSWERS) == 10
    assert all(any(title.startswith(start) for title, _ in QUERIES) for start in ANSWERS)


@pytest.mark.parametrize(("title", "sql"), QUERIES, ids=[title for title, _ in QUERIES])
def test_a_question_has_its_answer(audit: Path, title: str, sql: str) -> None:
    """The query runs as it is printed and gives what the made-up hour holds."""
    found = rows(audit, sql)
    is_right = next(check for start, check in ANSWERS.items() if title.startswith(start))
    assert is_right(found), found


def test_the_tables_named_are_those_there_are() -> None:
    """A new table is not left out of the document."""
    from mixer.audit.tables import TABLES

    assert set(re.findall(r"^\| `(\w+)` \|", TEXT, re.MULTILINE)) == set(TABLES)
