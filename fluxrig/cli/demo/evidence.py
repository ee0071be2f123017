"""What Parquet says: the rows for the ledger, and the questions that an analyst might ask first."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from fluxrig.cli.demo.ledger import Row

# Without ORDER BY: how the rows stand in the files is what the ledger asks.
ROWS: Final = """
SELECT leaf_seq, stream_seq, id
FROM messages
WHERE stream = 'UNS' AND leaf_seq IS NOT NULL
"""

COUNTS: Final = """
SELECT (SELECT count(*) FROM samples) AS polled_tags,
       (SELECT count(*) FROM messages WHERE schema = 'ot.transaction/1') AS sniffed_transactions
"""


@dataclass(frozen=True, slots=True)
class Question:
    """What is asked, in words and in SQL."""

    title: str
    sql: str


QUESTIONS: Final = (
    Question(
        "What did the Rack read?",
        """
SELECT tag, any_value(unit) AS unit, count(*) AS samples,
       round(min(value), 2) AS lowest, round(avg(value), 2) AS mean,
       round(max(value), 2) AS highest
FROM samples
GROUP BY tag
ORDER BY tag
""".strip(),
    ),
    Question(
        "What did the SCADA station ask, and how did the press answer?",
        """
SELECT data->>'$.op.name' AS request, data->>'$.target.address' AS address,
       data->>'$.status' AS status, count(*) AS exchanges,
       median((data->>'$.latency_us')::INTEGER)::INTEGER AS latency_us
FROM messages
WHERE schema = 'ot.transaction/1'
GROUP BY ALL
ORDER BY exchanges DESC, request, address
""".strip(),
    ),
)


@dataclass(frozen=True, slots=True)
class Answer:
    """The rows that a query gave, under the names of their columns."""

    columns: list[str]
    rows: list[tuple[Any, ...]]


def ask(audit: Path, sql: str) -> Answer:
    """Run one SELECT on the audit store."""
    from mixer.audit.query import query

    with query(audit, sql) as reader:
        table = reader.read_all()
    columns = [column.to_pylist() for column in table.columns]
    return Answer(table.column_names, list(zip(*columns, strict=True)))


def stored_rows(audit: Path) -> list[Row]:
    """Give every message, in the order in which they stand in the files."""
    return [Row(*row) for row in ask(audit, ROWS).rows]


def counts(audit: Path) -> dict[str, int]:
    """Give the number of tag values that were polled, and of Modbus exchanges that were sniffed."""
    answer = ask(audit, COUNTS)
    return dict(zip(answer.columns, answer.rows[0], strict=True))
