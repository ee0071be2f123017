"""`mixer audit`: the store as analysts, auditors and operators use it."""

from __future__ import annotations

import re
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from fluxrig.cli.console import JsonOption, print_json
from fluxrig.cli.options import seconds
from fluxrig.identity.names import DEFAULT_PROJECT
from fluxrig.uns import path_fault

if TYPE_CHECKING:
    from mixer.audit.verify import Report
    from mixer.folder import Folder

app = typer.Typer(help="The audit store: every message as a row of Parquet.", no_args_is_help=True)

DataOption = Annotated[
    Path | None,
    typer.Option(
        "--data",
        help="The Mixer's data folder.",
        envvar="FLUXRIG_MIXER_DATA",
        file_okay=False,
        show_default="~/.local/share/fluxrig/mixer",
    ),
]
KeyOption = Annotated[
    list[Path] | None,
    typer.Option(
        metavar="FILE",
        help="A public key to trust; several are tried.",
        exists=True,
        dir_okay=False,
        show_default="signing.pub beside the audit folder, or in the data folder",
    ),
]
AuditOption = Annotated[
    str,
    typer.Option(
        "--audit",
        metavar="FOLDER|URL",
        help="An audit store by itself: a folder, such as a copy that an auditor has, or s3://bucket/prefix.",
        envvar="FLUXRIG_AUDIT",
        show_default="that of --data",
    ),
]

MemoryOption = Annotated[int, typer.Option(min=64, help="The most memory to use, in MiB.")]
TimeoutOption = Annotated[
    float, typer.Option(parser=seconds, metavar="DURATION", help="The longest to wait for an answer.")
]


def folder(data: Path | None) -> Folder:
    """Give the data folder that a command works on."""
    from mixer.folder import Folder, default_path

    return Folder(data or default_path())


def place(data: Path | None, audit: str) -> Path | str:
    """Give the audit store that a command reads."""
    if not audit:
        return folder(data).store
    return audit if "://" in audit else Path(audit)


def moment(text: str) -> datetime:
    """Parse an option's point in time: a date, an ISO 8601 time (UTC unless it says), or how long ago."""
    if re.fullmatch(r"[0-9.]+ *[a-zµ]+", text):
        return datetime.fromtimestamp(datetime.now(UTC).timestamp() - seconds(text), UTC)
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        raise typer.BadParameter(f"{text!r} is no time; such as 2026-11-21, 2026-11-21T08:00 or 7d") from None
    return at if at.tzinfo else at.replace(tzinfo=UTC)


@app.command()
def query(
    sql: Annotated[
        str, typer.Argument(help="One SELECT; - reads it from standard input.", show_default=False)
    ],
    data: DataOption = None,
    audit: AuditOption = "",
    as_json: JsonOption = False,
    as_csv: Annotated[bool, typer.Option("--csv", help="Print CSV with a header.")] = False,
    rows: Annotated[int, typer.Option(min=1, help="The most rows that a table shows.")] = 100,
    memory: MemoryOption = 1024,
    timeout: TimeoutOption = "5m",  # type: ignore[assignment]
) -> None:
    """Ask the audit store in SQL (DuckDB), also while the Mixer writes.

    Tables: messages (one row a message), samples (one row a tag value), quarantine (what could not be
    decoded). DESCRIBE messages shows the columns. Times are in UTC.
    """
    from mixer.audit.query import Limits
    from mixer.audit.query import query as run

    if as_json and as_csv:
        raise typer.BadParameter("choose one of --json and --csv")
    text = sys.stdin.read() if sql == "-" else sql
    with run(place(data, audit), text, Limits(memory_mib=memory, time_s=timeout)) as reader:
        _print_rows(reader, as_json, as_csv, rows)


def _print_rows(reader: Any, as_json: bool, as_csv: bool, max_rows: int) -> None:
    from rich.console import Console

    from mixer.audit import output

    if as_json:
        output.write_json(reader, sys.stdout)
    elif as_csv:
        output.write_csv(reader, sys.stdout)
    elif output.print_table(reader, Console(), max_rows):
        typer.echo(f"only the first {max_rows} rows; --rows shows more, --json and --csv give all", err=True)


@app.command()
def tail(
    data: DataOption = None,
    audit: AuditOption = "",
    uns: Annotated[str, typer.Option(metavar="PATH", help="Only of this UNS path and those below it.")] = "",
    rack: Annotated[str, typer.Option(metavar="RACK", help="Only of this Rack.")] = "",
    schema: Annotated[
        str, typer.Option(metavar="SCHEMA", help="Only of this schema, such as fluxrig.tags/1.")
    ] = "",
    project: Annotated[str, typer.Option(metavar="PROJECT", help="Only of this project.")] = DEFAULT_PROJECT,
    last: Annotated[int, typer.Option("--last", "-n", min=0, help="How many to show first.")] = 10,
    follow: Annotated[bool, typer.Option(help="Go on with new ones until Ctrl-C.")] = True,
    as_json: JsonOption = False,
) -> None:
    """Show the last messages, and then each new one as soon as the hub has it.

    A store by itself (--audit) is followed as its commits are made. With --json a line is one object.
    """
    import asyncio

    from mixer.audit.tail import Filter
    from mixer.audit.tail import tail as rows

    wanted = Filter(uns.strip("/"), rack, schema, project)
    if wanted.uns and (fault := path_fault(wanted.uns)):
        raise typer.BadParameter(fault, param_hint="--uns")
    if follow and not audit:
        asyncio.run(_follow(data, wanted, last, as_json))
        return
    for row in rows(place(data, audit), wanted, last, lambda: not follow):
        _print_message(row, as_json)


async def _follow(data: Path | None, wanted: Any, last: int, as_json: bool) -> None:
    from mixer.follow import follow

    async for row in follow(folder(data), wanted, last):
        _print_message(row, as_json)


def _print_message(row: dict[str, Any], as_json: bool) -> None:
    import json

    if as_json:
        typer.echo(json.dumps(row, ensure_ascii=False))
    else:
        source = f"{row['rack']}/{row['gear'] or ''}"
        typer.echo(f"{row['ts']}  {row['uns']}  {source}  {row['schema']}  {row['data'] or ''}")
    sys.stdout.flush()


@app.command()
def trace(
    id: Annotated[str, typer.Argument(metavar="ID", help="The id of a message.", show_default=False)],
    data: DataOption = None,
    audit: AuditOption = "",
    as_json: JsonOption = False,
) -> None:
    """Show one message's way: its hops with times, what it derives from and what derives from it."""
    from mixer.audit.trace import trace as family

    found = family(place(data, audit), id)
    if as_json:
        print_json(found)
        return
    for one in found:
        relation = {-1: "derived from", 0: "message", 1: "gave rise to"}[max(-1, min(1, one["generation"]))]
        typer.echo(f"{relation} {one['id']}  {one['uns']}  {one['schema']}")
        for hop in one["hops"]:
            after = "" if hop["after_us"] is None else f"  {round(hop['after_us']):+,} µs"
            typer.echo(f"    {hop['time']}  {hop['at']}{after}")


@app.command()
def export(
    sql: Annotated[
        str, typer.Argument(help="One SELECT, or the name of a table; - reads stdin.", show_default=False)
    ],
    out: Annotated[
        Path, typer.Argument(metavar="FILE", help="Where to.", dir_okay=False, show_default=False)
    ],
    data: DataOption = None,
    audit: AuditOption = "",
    format: Annotated[
        str, typer.Option(metavar="csv|json|arrow|parquet", show_default="by the name of FILE")
    ] = "",
    memory: MemoryOption = 1024,
    timeout: TimeoutOption = "1h",  # type: ignore[assignment]
) -> None:
    """Write the answer to a query into a file: CSV, JSON, Arrow (IPC file) or Parquet.

    The file is there whole or not at all.
    """
    from mixer.audit.export import export as write
    from mixer.audit.export import format_of
    from mixer.audit.query import Limits
    from mixer.audit.query import query as run

    kind = format_of(out, format)
    text = sys.stdin.read() if sql == "-" else sql
    text = f"FROM {text}" if text.strip().isidentifier() else text
    with run(place(data, audit), text, Limits(memory_mib=memory, time_s=timeout)) as reader:
        rows = write(reader, out, kind)
    typer.echo(f"{rows:,} rows in {out}", err=True)


@app.command()
def sql(
    data: DataOption = None,
    audit: AuditOption = "",
    rows: Annotated[int, typer.Option(min=1, help="The most rows that a table shows.")] = 100,
    memory: MemoryOption = 1024,
    timeout: TimeoutOption = "5m",  # type: ignore[assignment]
) -> None:
    """Ask the audit store in a shell: a query ends with a semicolon, .help tells more, Ctrl-D leaves.

    What was asked is kept for the arrow keys, also over restarts.
    """
    from fluxrig.cli.audit_shell import Shell
    from mixer.audit.query import Limits

    Shell(place(data, audit), Limits(memory_mib=memory, time_s=timeout), rows).run()


@app.command()
def verify(
    data: DataOption = None,
    audit: AuditOption = "",
    key: KeyOption = None,
    since: Annotated[
        datetime | None,
        typer.Option(
            parser=moment,
            metavar="TIME",
            help="Check only rows committed since then: a date, a time, or how long ago, such as 7d.",
        ),
    ] = None,
    head: Annotated[
        str, typer.Option(metavar="NUMBER:DIGEST", help="A head noted earlier, which must still be there.")
    ] = "",
    jobs: Annotated[int, typer.Option(min=0, help="How many processes; 0 takes one a core.")] = 0,
    as_json: JsonOption = False,
) -> None:
    """Check that nothing in the audit store was changed, removed, added or moved. Exits 1 when something was.

    Every row is recomputed from the Parquet files alone, offline. Of what is found, file and row are named;
    rows count from 0, lines of the manifest from 1. Note the head that this prints, and give it to --head the
    next time: it finds even a folder that was put back to an older state.
    """
    from fluxrig.evidence import PUBLIC_NAME, PublicKeys
    from mixer.audit.verify import Scope
    from mixer.audit.verify import verify as run

    where = place(data, audit)
    beside = where.absolute().parent if isinstance(where, Path) else folder(data).path
    keys = PublicKeys.load(key or [beside / PUBLIC_NAME])
    with progress("rows") as advance:
        report = run(where, keys, Scope(since, head, jobs), advance)
    if as_json:
        print_json(_report(report))
    else:
        _print_report(report)
    if not report.ok:
        raise typer.Exit(1)


def _report(report: Report) -> dict[str, Any]:
    return {
        "ok": report.ok,
        "commits": report.lines,
        "files": report.files,
        "rows": report.rows,
        "pruned_files": report.pruned,
        "head": report.head,
        "faults": [one._asdict() for one in report.findings],
    }


def _print_report(report: Report) -> None:
    for one in report.findings:
        row = "" if one.row is None else f":{one.row}"
        message = f" (message {one.id})" if one.id else ""
        typer.echo(f"{one.file}{row}: {one.what}{message}")
    result = "all as it was signed" if report.ok else f"{len(report.findings)} things are not as signed"
    pruned = f", {report.pruned} files pruned" if report.pruned else ""
    typer.echo(f"{report.lines} commits, {report.files} files, {report.rows} rows{pruned}: {result}")
    typer.echo(f"head {report.head}")


@app.command()
def prove(
    id: Annotated[str, typer.Argument(metavar="ID", help="The id of a message.", show_default=False)],
    data: DataOption = None,
    audit: AuditOption = "",
    out: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Write the proof there, not to stdout.", dir_okay=False),
    ] = None,
) -> None:
    """Print a proof, as JSON, that a message is in the audit store as it was written.

    A third party checks it with `fluxrig verify-proof FILE --key signing.pub`: the path through an RFC 6962
    Merkle tree to a root that the Mixer signed. An id that several rows have gives the proof of the first.
    """
    from mixer.audit.prove import prove as run

    proofs = run(place(data, audit), id)
    text = next(proofs).text()
    if more := sum(1 for _ in proofs):
        typer.echo(f"{more} more rows have this id; this is the proof of the first", err=True)
    if out is None:
        typer.echo(text)
    else:
        out.write_text(text + "\n", "utf-8")


@app.command()
def ls(
    data: DataOption = None,
    audit: AuditOption = "",
    table: Annotated[str, typer.Option(metavar="TABLE", help="Only the files of this table.")] = "",
    as_json: JsonOption = False,
) -> None:
    """List the Parquet files that make up the audit store, in the order of their commits."""
    from mixer.audit.listing import files

    found = [file for file in files(place(data, audit)) if table in ("", file["table"])]
    if as_json:
        print_json(found)
        return
    for file in found:
        typer.echo(f"{file['committed'][:19]}Z  {file['rows']:>10,}  {file['bytes']:>13,}  {file['path']}")


@app.command()
def stats(data: DataOption = None, audit: AuditOption = "", as_json: JsonOption = False) -> None:
    """Show how much there is of each table, and what compaction and retention did so far."""
    from rich import print as show
    from rich.table import Table

    from mixer.audit.listing import stats as gather

    found = gather(place(data, audit))
    if as_json:
        print_json(found)
        return
    tables = Table("table", "files", "rows", "MiB", "bytes a row", "from", "to")
    for name, one in found["tables"].items():
        size = (f"{one['bytes'] / 2**20:,.1f}", str(one["bytes_per_row"] or ""))
        days = (one["first_date"] or "", one["last_date"] or "")
        tables.add_row(name, f"{one['files']:,}", f"{one['rows']:,}", *size, *days)
    show(tables)
    lines, pruned = found["lines"], found["pruned"]
    typer.echo(f"{lines['commit']} commits, {lines['compact']} compactions, {lines['prune']} prunes")
    typer.echo(
        f"pruned: {pruned['files']} files, {pruned['rows']:,} rows, {pruned['bytes'] / 2**20:,.1f} MiB"
    )


@app.command()
def compact(
    data: DataOption = None,
    target: Annotated[
        int, typer.Option(min=1, max=1024, metavar="MIB", help="How large merged files may become, in MiB.")
    ] = 32,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would be merged.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Merge the small files of each day, also while the Mixer runs; what was signed stays verifiable.

    Files that a query is reading are replaced when it is done. Merging takes about ten times the target in
    memory.
    """
    from mixer.audit.upkeep import Task

    done = _upkeep(data, plan := Task(do="compact", target_mib=target, dry_run=True))
    if not dry_run:
        done = _merge(data, plan, done["groups"])
    if as_json:
        print_json(done)
    elif dry_run:
        typer.echo(f"{done['files_before']} files would become those of {done['groups']} merges")
    elif not done["groups"]:
        typer.echo("there is nothing to merge")
    else:
        sizes = f"{done['bytes_before'] / 2**20:.1f} to {done['bytes_after'] / 2**20:.1f} MiB"
        typer.echo(f"merged {done['files_before']} files into {done['files_after']}, {sizes}")


def _merge(data: Path | None, plan: Any, groups: int) -> dict[str, Any]:
    """Merge group by group, each asked for by itself; what comes meanwhile is left for the next time."""
    task, totals = plan.model_copy(update={"dry_run": False, "groups": 1}), Counter[str]()
    with progress("merges") as advance:
        for number in range(1, groups + 1):
            totals.update({name: int(count) for name, count in _upkeep(data, task).items()})
            if advance is not None:
                advance(number, groups)
    return {name: totals[name] for name in _MERGED} | {"dry_run": False}


_MERGED = ("groups", "files_before", "files_after", "bytes_before", "bytes_after")


@app.command()
def prune(
    data: DataOption = None,
    older_than: Annotated[
        float | None,
        typer.Option(
            parser=seconds, metavar="AGE", help="Take away days that ended longer ago, such as 90d."
        ),
    ] = None,
    max_mib: Annotated[
        int | None,
        typer.Option(min=0, metavar="MIB", help="Take away the oldest days until a table has no more."),
    ] = None,
    table: Annotated[
        str, typer.Option(metavar="TABLE", help="Of this table alone.", show_default="each table")
    ] = "",
    project: Annotated[
        str, typer.Option(metavar="PROJECT", help="Of this project alone.", show_default="each project")
    ] = "",
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would go.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Take away old files for good, and leave a signed tombstone that says what they were.

    Age counts from the end of the UTC day on which the Mixer received a message. The present day always
    stays. Works also while the Mixer runs.
    """
    from mixer.audit.upkeep import Task

    size = None if max_mib is None else max_mib << 20
    if older_than is None and size is None:
        raise typer.BadParameter("say what to keep: --older-than, --max-mib, or both")
    task = Task(do="prune", dry_run=dry_run, table=table, project=project, age_s=older_than, bytes=size)
    done = _upkeep(data, task)
    if as_json:
        print_json(done)
        return
    for path in done["files"]:
        typer.echo(path)
    verb = "would go" if dry_run else "are gone"
    typer.echo(
        f"{len(done['files'])} files with {done['rows']:,} rows, {done['bytes'] / 2**20:.1f} MiB, {verb}"
    )


def _upkeep(data: Path | None, task: Any) -> dict[str, Any]:
    import asyncio

    from mixer.upkeep import ask

    return asyncio.run(ask(folder(data), task))


@contextmanager
def progress(what: str) -> Iterator[Callable[[int, int], None] | None]:
    """Show how far a long command is, where someone looks."""
    if not sys.stderr.isatty():
        yield None
        return
    from rich.console import Console
    from rich.progress import Progress

    with Progress(console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(what, total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)
