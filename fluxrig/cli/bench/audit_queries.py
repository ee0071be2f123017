"""Queries over a year of samples, made up and written as the Mixer writes them."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

DAYS: Final = 365
ASSETS: Final = 20
TAGS: Final = 10
_FIRST: Final = datetime(2025, 1, 1, tzinfo=UTC)
_DAY_NS: Final = 86_400 * 10**9
_ROUNDS: Final = 3

_TAG: Final = "uns = 'acme/lyon/line-7' AND tag = 'tag-3'"
QUERIES: Final = {
    "tag_hour": f"SELECT ts, value FROM samples WHERE date = '2025-06-15' AND {_TAG}"  # noqa: S608 - ours
    " AND ts >= '2025-06-15 09:00' AND ts < '2025-06-15 10:00'",
    "tag_year_hourly": "SELECT date_trunc('hour', ts) AS hour, avg(value)"  # noqa: S608
    f" FROM samples WHERE {_TAG} GROUP BY hour",
    "count_by_rack_day": "SELECT rack, date, count(*) FROM samples GROUP BY ALL",
}


def measure(folder: Path, rows: int, progress: Callable[[int, int], None] | None) -> dict[str, Any]:
    """Make so many samples and ask; give the best of a few rounds of each query, and the time to verify."""
    from fluxrig.evidence import PublicKeys
    from mixer.audit.query import query
    from mixer.audit.verify import verify

    made = fill(folder / "audit", rows, progress)
    times: dict[str, float] = {}
    for name, sql in QUERIES.items():
        best = float("inf")
        for _ in range(_ROUNDS):
            start = time.perf_counter()
            with query(folder / "audit", sql) as reader:
                reader.read_all()
            best = min(best, time.perf_counter() - start)
        times[name] = round(best * 1000, 1)
    start = time.perf_counter()
    report = verify(folder / "audit", PublicKeys.load([folder / "signing.pub"]))
    return {
        "samples": made,
        "query_ms": times,
        "samples_verify_s": round(time.perf_counter() - start, 1),
        "samples_verify_ok": report.ok,
    }


def fill(audit: Path, rows: int, progress: Callable[[int, int], None] | None = None) -> int:
    """Write a year of samples, a file a day, as compaction leaves them; give how many."""
    from mixer.audit.store import AuditStore, Draft
    from mixer.audit.tables import SAMPLES

    store, made = AuditStore(audit), 0
    each = max(1, rows // (DAYS * ASSETS * TAGS))
    for day in range(DAYS):
        table = _day(day, each)
        date = (_FIRST + timedelta(days=day)).date().isoformat()
        store.write("UNS", (day + 1, day + 1), [Draft(SAMPLES, date, table)], epoch="bench")
        made += table.num_rows
        if progress is not None:
            progress(made, each * DAYS * ASSETS * TAGS)
    return made


def _day(day: int, each: int) -> Any:
    """Give the samples of one day: of each tag of each asset `each`, evenly over the day."""
    import pyarrow as pa
    import pyarrow.compute as pc

    from mixer.audit.tables import SAMPLES

    start = int(_FIRST.timestamp()) * 10**9 + day * _DAY_NS
    ts = pa.array([start + place * _DAY_NS // each for place in range(each)], pa.int64())
    total = ASSETS * TAGS * each
    value = pc.round(pc.multiply(pc.sin(pc.cast(pa.array(range(each)), pa.float64())), 50.0), 3)
    assets = sorted(f"acme/lyon/line-{number}" for number in range(ASSETS))
    series = [(asset, f"tag-{tag}") for asset in assets for tag in range(TAGS)]

    def repeated(texts: list[str]) -> Any:
        places = pa.chunked_array([pa.array([place] * each, pa.int32()) for place in range(len(texts))])
        return pa.array(texts).take(places.combine_chunks())

    columns = {
        "ts": pa.concat_arrays([ts] * len(series)).cast(SAMPLES.schema.field("ts").type),
        "uns": repeated([asset for asset, _ in series]),
        "tag": repeated([tag for _, tag in series]),
        "value": pa.concat_arrays([value] * len(series)),
        "value_int": pa.nulls(total, pa.int64()),
        "value_bool": pa.nulls(total, pa.bool_()),
        "text": pa.nulls(total, pa.string()),
        "quality": pa.array(["good"]).take(pa.array([0] * total, pa.int32())),
        "unit": pa.array(["bar"]).take(pa.array([0] * total, pa.int32())),
        "rack": repeated([f"rack-{asset.rpartition('-')[2]}" for asset, _ in series]),
        "id": pa.array(
            [f"{start // 10**6 + place:012x}"[:8] + "-0000-7000-8000-000000000000" for place in range(each)]
        ).take(pa.array(list(range(each)) * len(series), pa.int32())),
        "stream_seq": pa.array(list(range(each)) * len(series), pa.int64()),
    }
    return pa.table([columns[name] for name in SAMPLES.schema.names], schema=SAMPLES.schema)
