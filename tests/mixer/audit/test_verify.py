"""Whatever is done to an audit folder behind the Mixer's back is found, and named."""

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from fluxrig.codec import decode, encode
from fluxrig.evidence import PublicKeys, SigningKey
from mixer.audit.layout import leaves_path
from mixer.audit.manifest import HEAD, NAME, digest, parse
from mixer.audit.origin import Marks
from mixer.audit.state import CHECKPOINT
from mixer.audit.store import AuditStore
from mixer.audit.tabulate import tabulate
from mixer.audit.verify import Report, Scope, verify

from .stream import NOON_NS, message, run_of, stored


@pytest.fixture
def audit(tmp_path: Path) -> Path:
    """Three commits of twelve messages; the second has something in quarantine and a transaction."""
    store, marks = AuditStore(tmp_path / "audit"), Marks()
    event = message(1000, {"op": {"fc": 3}, "status": "ok"}, schema="ot.transaction/1")
    odd = replace(stored(9, [message(1)], 1, leaf="leaf-b"), payload=b"\xff")
    for first, extra in ((1, []), (5, [odd, stored(10, [event], 2, leaf="leaf-b")]), (11, [])):
        items = [*run_of(first, 4), *extra]
        store.commit("UNS", "2026-11-21", tabulate("UNS", items, marks))
    return store.folder


def found(audit: Path, scope: Scope | None = None) -> Report:
    return verify(audit, PublicKeys.load([audit.parent / "signing.pub"]), scope)


def files(audit: Path, table: str = "messages") -> list[Path]:
    return sorted((audit / table).rglob("*.parquet"))


def rewrite(path: Path, change: Callable[[pa.Table], pa.Table]) -> None:
    """Change the rows of a file as someone with a Parquet library would, checksums and all."""
    pq.write_table(change(pq.ParquetFile(path).read()), path, compression="zstd")


def put(column: str, row: int, value: Any) -> Callable[[pa.Table], pa.Table]:
    """A change of one cell."""

    def change(table: pa.Table) -> pa.Table:
        cells = table[column].to_pylist()
        cells[row] = value
        kind = table.schema.field(column)
        return table.set_column(table.schema.get_field_index(column), kind, pa.array(cells, kind.type))

    return change


def drop(row: int) -> Callable[[pa.Table], pa.Table]:
    return lambda table: pa.concat_tables([table.slice(0, row), table.slice(row + 1)])


def test_what_was_written_holds(audit: Path) -> None:
    """An untouched folder has nothing to find, and the report says what was checked."""
    report = found(audit)
    assert report.findings == []
    assert (report.lines, report.files) == (3, 8)
    assert report.rows == 12 * 3 * 2 + 1 + 1 + 1


@pytest.mark.parametrize(
    ("column", "value"),
    [
        ("ts", NOON_NS - 1),
        ("uns", "acme/lyon/other"),
        ("data", '{"n":7}'),
        ("meta", "{}"),
        ("rack", "other"),
        ("gear", None),
        ("schema", "fluxrig.event/1"),
        ("id", "00000000-0000-0000-0000-0000000000ff"),
        ("ref", "00000000-0000-0000-0000-0000000000ff"),
        ("trace", "00"),
        ("raw", b"\x01"),
        ("sha256", bytes(32)),
        ("cbor", b"\xa0"),
        ("cbor", encode(message(4, {"n": 5}))),
        ("stream", "DEAD"),
        ("stream_seq", 1),
        ("leaf", "leaf-b"),
        ("leaf_seq", 7),
        ("received", NOON_NS - 1),
    ],
)
def test_every_column_of_a_message_is_held(audit: Path, column: str, value: object) -> None:
    """Whichever cell is edited, the file's own checksums made right: the file and the row are named."""
    rewrite(files(audit)[1], put(column, 4, value))
    (finding,) = [one for one in found(audit).findings if one.file.startswith("messages")]
    assert (finding.file, finding.row) == (files(audit)[1].relative_to(audit).as_posix(), 4)
    assert "changed" in finding.what or "holds no message" in finding.what


def test_a_forged_message_is_named(audit: Path) -> None:
    """A row that is consistent in itself, every column made anew from another message, is still found."""
    forged = message(3, {"n": 999})
    run = tabulate("UNS", [stored(2, [forged], 3)], Marks())
    row = pa.Table.from_batches(run.batches["messages", "2026-11-21"])
    path = files(audit)[0]
    rewrite(path, lambda table: pa.concat_tables([table.slice(0, 3), row.cast(table.schema), table.slice(4)]))
    finding = found(audit).findings[0]
    assert (finding.row, finding.what) == (3, "the row was changed after it was signed")
    assert finding.id.endswith("03")


@pytest.mark.parametrize(
    ("change", "row", "what"),
    [
        (drop(5), 5, "a row was removed: it was signed as row 5"),
        (drop(11), 11, "a row was removed: it was signed as row 11"),
        (lambda table: pa.concat_tables([table, table.slice(0, 1)]), 12, "the row was added"),
        (
            lambda table: table.take(pa.array([0, 1, 3, 2, *range(4, 12)])),
            3,
            "the row was moved: it was signed as row 2",
        ),
        (
            lambda table: table.take(pa.array([11, *range(11)])),
            0,
            "the row was moved: it was signed as row 11",
        ),
    ],
    ids=["removed", "last removed", "added", "swapped", "moved"],
)
def test_a_row_that_goes_comes_or_moves_is_named(audit: Path, change: Any, row: int, what: str) -> None:
    """Removed, added and moved rows are told apart, each with its place."""
    rewrite(files(audit)[2], change)
    findings = [one for one in found(audit).findings if one.file.startswith("messages")]
    assert [(one.row, one.what) for one in findings] == [(row, what)]


@pytest.mark.parametrize("table", ["messages", "samples", "transactions", "quarantine"])
def test_a_flipped_byte_is_found_wherever_it_is(audit: Path, table: str) -> None:
    """Any one byte of any file, data or metadata, is missed by no run; the file is named."""
    path = files(audit, table)[0]
    whole = path.read_bytes()
    for at in range(0, len(whole), max(1, len(whole) // 40)):
        path.write_bytes(whole[:at] + bytes([whole[at] ^ 0x10]) + whole[at + 1 :])
        assert {one.file for one in found(audit).findings} >= {path.relative_to(audit).as_posix()}
    path.write_bytes(whole)
    assert found(audit).ok


@pytest.mark.parametrize("column", ["value", "tag", "uns", "quality", "unit", "ts"])
def test_samples_follow_from_messages(audit: Path, column: str) -> None:
    """An edit of the samples alone is found by making them again; row and column are named."""
    new = {"value": 99.5, "tag": "x", "uns": "x", "quality": "bad", "unit": "bar", "ts": NOON_NS}
    rewrite(files(audit, "samples")[0], put(column, 6, new[column]))
    (finding,) = found(audit).findings
    assert (finding.file, finding.row) == (files(audit, "samples")[0].relative_to(audit).as_posix(), 6)
    assert column in finding.what


def test_rows_of_the_other_tables_are_held(audit: Path) -> None:
    """Event tables are made again too, and what was set aside has a tree of its own."""
    rewrite(files(audit, "transactions")[0], put("status", 0, "exception"))
    rewrite(files(audit, "quarantine")[0], put("reason", 0, "none"))
    findings = {one.file.partition("/")[0]: (one.row, one.what) for one in found(audit).findings}
    assert findings["transactions"] == (0, "the row was changed after it was signed (column status)")
    assert findings["quarantine"] == (0, "the row was changed after it was signed")


@pytest.mark.parametrize("table", ["messages", "samples", "quarantine"])
def test_a_dropped_file_is_named(audit: Path, table: str) -> None:
    """A file that is gone, and no tombstone says so."""
    path = files(audit, table)[0]
    path.unlink()
    (finding,) = found(audit).findings
    assert finding.file == path.relative_to(audit).as_posix()
    assert "removed" in finding.what


def test_an_added_file_is_named(audit: Path) -> None:
    """A file that no line names is no part of the store, however well it looks."""
    path = files(audit)[0]
    shutil.copy(path, path.with_name("more.parquet"))
    (finding,) = found(audit).findings
    assert finding.file.endswith("more.parquet")


def test_two_swapped_files_are_named(audit: Path) -> None:
    """Both are named, each with what it holds."""
    one, other = files(audit)[0], files(audit)[2]
    data = one.read_bytes()
    one.write_bytes(other.read_bytes())
    other.write_bytes(data)
    findings = [one for one in found(audit).findings if one.file.startswith("messages")]
    names = [path.relative_to(audit).as_posix() for path in (one, other)]
    assert [finding.file for finding in findings] == names
    assert names[1] in findings[0].what
    assert names[0] in findings[1].what


def _lines(audit: Path) -> list[bytes]:
    return (audit / NAME).read_bytes().splitlines(keepends=True)


def _resigned(audit: Path, key: SigningKey) -> list[bytes]:
    """The manifest with its last commit signed by another key, the chain made right."""
    lines = _lines(audit)
    return [*lines[:-1], parse(lines[-1]).line(digest(lines[-2]), key)]


@pytest.mark.parametrize(
    ("tamper", "line", "what"),
    [
        (lambda lines: [lines[0], lines[2]], 2, "line 2 is missing"),
        (lambda lines: [lines[0], lines[2], lines[1]], 2, "line 2 is missing"),
        (lambda lines: [*lines, lines[1]], 4, "moved here, or added again"),
        (
            lambda lines: [lines[0], lines[1].replace(b'"rows":13', b'"rows":12'), lines[2]],
            2,
            "changed after",
        ),
        (lambda lines: [lines[0], b"{}\n", lines[2]], 2, "changed"),
        (lambda lines: lines[:2], 2, "line 3 was cut off its end"),
        (lambda lines: [], 0, "lines 1 to 3 were cut off its end"),
    ],
    ids=["removed", "swapped", "repeated", "changed", "replaced", "cut", "emptied"],
)
def test_a_changed_manifest_is_named(audit: Path, tamper: Any, line: int, what: str) -> None:
    """Lines changed, moved, removed, added, or cut off the end: the first of it is named."""
    (audit / NAME).write_bytes(b"".join(tamper(_lines(audit))))
    finding = found(audit).findings[0]
    assert (finding.file, finding.row) == (NAME, line)
    assert what in finding.what


@pytest.mark.parametrize(
    "field",
    [
        {"files": [{"path": "../../etc/hosts", "table": "messages", "rows": 1, "bytes": 1, "sha256": ""}]},
        {"files": [{"path": "a/b", "table": "nothing", "rows": 1, "bytes": 1, "sha256": ""}]},
        {"files": 5},
        {"marks": "x"},
        {"at": "yesterday"},
        {"number": 10**30},
        {"key": []},
        {"signature": "é"},
    ],
    ids=str,
)
def test_a_manifest_may_hold_anything(audit: Path, field: dict[str, Any]) -> None:
    """A line is named whatever somebody wrote into it, and no file outside of the folder is looked at."""
    lines = _lines(audit)
    changed = json.dumps({**json.loads(lines[1]), **field}, separators=(",", ":")).encode()
    (audit / NAME).write_bytes(b"".join([lines[0], changed + b"\n", lines[2]]))
    named = [
        (one.file, one.row) for one in found(audit, Scope(since=datetime(2020, 1, 1, tzinfo=UTC))).findings
    ]
    assert (NAME, 2) in named
    assert not any("etc" in file for file, _ in named)


@pytest.mark.parametrize(
    "junk", [b"\xff", b"[1]", b"{}", b"[" * 200_000], ids=["bytes", "list", "map", "deep"]
)
@pytest.mark.parametrize("name", [HEAD, CHECKPOINT])
def test_junk_beside_the_manifest_is_named(audit: Path, name: str, junk: bytes) -> None:
    """Whatever the head and the checkpoint were replaced by."""
    (audit / name).write_bytes(junk)
    assert [one.file for one in found(audit).findings] == [name]


def test_a_removed_manifest_is_named(audit: Path) -> None:
    """A folder whose manifest is gone is no empty one."""
    (audit / NAME).unlink()
    assert found(audit).findings[0][:3] == (NAME, None, "the manifest was removed")


@pytest.mark.parametrize(
    "change", [Path.unlink, lambda path: path.write_bytes(b"\0" + path.read_bytes()[1:])]
)
def test_a_changed_finder_is_named(audit: Path, change: Callable[[Path], Any]) -> None:
    """The files by which rows are found are part of the evidence, also while all rows are as signed."""
    path = leaves_path(files(audit)[1].relative_to(audit).as_posix())
    change(audit / path)
    assert [one.file for one in found(audit).findings] == [path]


def test_a_manifest_cut_with_its_files_is_found(audit: Path) -> None:
    """Who removes the last commit wholly, line and files, leaves a head that knows better."""
    for path in [*files(audit), *files(audit, "samples")]:
        if path.name.startswith("0000000003"):
            path.unlink()
    (audit / NAME).write_bytes(b"".join(_lines(audit)[:2]))
    assert [one.what for one in found(audit).findings] == ["line 3 was cut off its end"]
    (audit / HEAD).unlink()
    assert [one.file for one in found(audit).findings] == [HEAD]


def test_a_head_kept_elsewhere_finds_what_the_folder_cannot(audit: Path) -> None:
    """A folder put back to an older state, head and all, does not have the head that was noted."""
    early = audit.parent / "early"
    head = found(audit).head
    assert found(audit, Scope(head=head)).ok
    shutil.copytree(audit, early)
    store = AuditStore(audit)
    store.commit("UNS", "2026-11-21", tabulate("UNS", run_of(20, 1), Marks()))
    late = found(audit).head
    assert found(audit, Scope(head=head)).ok
    shutil.rmtree(audit)
    shutil.copytree(early, audit)
    assert found(audit).ok
    assert "rewritten or cut" in found(audit, Scope(head=late)).findings[0].what


def test_another_key_is_named(audit: Path) -> None:
    """A line re-signed by someone else, chain and all, is named with the key that signed it."""
    other = SigningKey.generate()
    (audit / NAME).write_bytes(b"".join(_resigned(audit, other)))
    finding = found(audit).findings[0]
    assert (finding.file, finding.row) == (NAME, 3)
    assert f"another key, {other.key_id}" in finding.what


def test_a_folder_without_evidence_is_called_that(audit: Path) -> None:
    """Lines that carry no signature are named as what they are, once."""
    bare = []
    for line in _lines(audit):
        fields = json.loads(line)
        bare.append(json.dumps({name: fields[name] for name in fields if name not in ("key", "signature")}))
    (audit / NAME).write_text("\n".join(bare) + "\n")
    whats = [one.what for one in found(audit).findings if one.file == NAME]
    assert any("written without evidence" in what for what in whats)


def test_an_edited_row_whose_finder_was_edited_too_is_found(audit: Path) -> None:
    """Without the file by which rows are found, the Parquet file is still named."""
    path = files(audit)[0]
    rewrite(path, put("received", 2, NOON_NS - 1))
    (audit / leaves_path(path.relative_to(audit).as_posix())).unlink()
    finding = found(audit).findings[0]
    assert (finding.file, finding.row) == (path.relative_to(audit).as_posix(), None)


def test_rows_are_checked_in_processes_too(audit: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Many rows are checked in parallel, with the same findings."""
    rewrite(files(audit)[2], drop(5))
    alone = found(audit).findings
    monkeypatch.setattr("mixer.audit.verify._INLINE_ROWS", 0)
    seen: list[int] = []
    report = verify(
        audit,
        PublicKeys.load([audit.parent / "signing.pub"]),
        Scope(processes=2),
        lambda done, _: seen.append(done),
    )
    assert report.findings == alone
    assert seen == sorted(seen)
    assert seen[-1] == report.rows


def test_numbers_that_json_and_comparison_stumble_over_verify(store: AuditStore) -> None:
    """NaN, infinities, negative zero, huge integers, nested values and bytes are equal to themselves."""
    odd = {"nan": float("nan"), "inf": float("-inf"), "zero": -0.0, "huge": 1 << 90, "list": [1, {"a": None}]}
    items = [stored(1, [message(1, odd | {"bytes": b"\0", "null": None, "text": "é\u0000"})], 1)]
    store.commit("UNS", "2026-11-21", tabulate("UNS", items, Marks()))
    assert found(store.folder).findings == []
    assert decode(encode(message(1, odd))).data["huge"] == 1 << 90


def test_sorting_is_of_no_concern_to_evidence(store: AuditStore) -> None:
    """Samples lie in the order of asset, tag and time, whatever the order in which messages came."""
    items = [
        stored(n, [message(n, {"b": n, "a": -n}, ts=NOON_NS - n, uns=f"acme/{n % 2}")], n)
        for n in range(1, 9)
    ]
    store.commit("UNS", "2026-11-21", tabulate("UNS", items, Marks()))
    (path,) = files(store.folder, "samples")
    rows = pq.ParquetFile(path).read()
    order = [("uns", "ascending"), ("tag", "ascending"), ("ts", "ascending")]
    assert pc.sort_indices(rows, order).to_pylist() == list(range(16))
    assert found(store.folder).ok
