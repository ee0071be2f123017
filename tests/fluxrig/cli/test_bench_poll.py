"""`fluxrig bench poll` measures what it says it measures."""

from __future__ import annotations

import json
import os
import struct
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from fluxrig.cli import bench
from fluxrig.cli.bench.poll_case import (
    CASES,
    PHASES,
    RACK,
    Case,
    addresses,
    from_facts,
    gear_name,
    rack_file,
    registers,
    tag_name,
    to_facts,
    value,
)
from fluxrig.cli.bench.poll_device import Device
from fluxrig.cli.bench.poll_run import count
from fluxrig.cli.bench.poll_timing import Timing
from fluxrig.cli.bench.poll_usage import usage
from fluxrig.message import TAGS, FluxMsg

MS = 1_000_000
PERIOD = 10 * MS
SMALL = Case("small", 2, 7, 0.01, holes=3)

app = typer.Typer()
app.add_typer(bench.app, name="bench")


def on_time(ticks: int) -> list[tuple[int, int]]:
    """Polls that begin on their tick and take a millisecond."""
    return [(tick * PERIOD, tick * PERIOD + MS) for tick in range(ticks)]


def test_an_even_schedule_has_no_jitter() -> None:
    """Polls on an even grid, wherever it lies, have neither jitter nor overruns."""
    for shift in (0, 3 * MS, 123_456_789_012):
        timing = Timing.of([(began + shift, ended + shift) for began, ended in on_time(50)], PERIOD)
        assert (timing.ticks, timing.overruns, set(timing.jitter_ns)) == (50, 0, {0})


def test_one_late_poll_is_the_jitter_of_one() -> None:
    """A poll that begins late moves itself and not the grid, also if it is the first."""
    for late in (0, 20, 49):
        polls = on_time(50)
        polls[late] = (polls[late][0] + 2 * MS, polls[late][1] + 2 * MS)
        timing = Timing.of(polls, PERIOD)
        assert sorted(timing.jitter_ns) == [0] * 49 + [2 * MS]
        assert timing.jitter_ms() == {"p50": 0.0, "p99": 2.0, "p999": 2.0}
        assert timing.overruns == 0


def test_a_poll_that_outlasts_its_tick_is_an_overrun() -> None:
    """An overrun is a poll that still runs at the next tick, or a tick without a poll."""
    polls = on_time(50)
    polls[10] = (polls[10][0], polls[11][0] + MS)
    del polls[30:33]
    timing = Timing.of(polls, PERIOD)
    assert (timing.ticks, timing.overruns, timing.overrun_ratio) == (50, 4, 4 / 50)


def test_a_poll_may_be_later_than_half_a_period() -> None:
    """A poll that waits long is as late as it is, not early for the next tick; a stall of ticks likewise."""
    polls = on_time(50)
    polls[10] = (polls[10][0] + 8 * MS, polls[10][1] + 8 * MS)
    timing = Timing.of(polls, PERIOD)
    assert (max(timing.jitter_ns), timing.overruns, timing.ticks) == (8 * MS, 0, 50)
    polls = on_time(50)
    polls[20] = (polls[21][0] + 2 * MS, polls[21][0] + 3 * MS)
    polls[21] = (polls[21][0] + 4 * MS, polls[21][0] + 5 * MS)
    timing = Timing.of(polls, PERIOD)
    assert (sorted(timing.jitter_ns)[-2:], timing.overruns) == ([4 * MS, 12 * MS], 1)


def test_drift_shows() -> None:
    """A schedule whose period is 1 % long is not taken for an even one."""
    polls = [(tick * (PERIOD + PERIOD // 100), tick * (PERIOD + PERIOD // 100) + MS) for tick in range(50)]
    assert Timing.of(polls, PERIOD).jitter_ms()["p99"] > 2


def test_no_polls_have_no_figures() -> None:
    """A device that nobody asked is no division by zero."""
    assert Timing.together([Timing.of([], PERIOD)]).jitter_ms() == {"p50": 0, "p99": 0, "p999": 0}
    assert Timing().overrun_ratio == 0


def test_the_cases_are_those_that_are_promised() -> None:
    """10 x 1,000 tags every 100 ms, with and without 30 % holes, and 100 tags every 10 ms."""
    assert [(case.connections, case.tags, case.every_s) for case in CASES.values()] == [
        (10, 1000, 0.1),
        (10, 1000, 0.1),
        (1, 100, 0.01),
    ]
    for case, holes in zip(CASES.values(), (0.0, 0.3, 0.0), strict=True):
        places = addresses(case)
        assert len(set(places)) == case.tags
        assert 1 - len(places) / (places[-1] // 2 + 1) == pytest.approx(holes, abs=0.001)
        assert from_facts(json.loads(json.dumps(to_facts(case)))) == case


def test_no_two_tags_are_ever_the_same() -> None:
    """A value says which tag of which device it is, so that a shifted answer is caught."""
    case = CASES["plain"]
    values = {
        value(connection, tag, phase): (connection, tag)
        for connection in range(case.connections)
        for tag in range(case.tags)
        for phase in range(PHASES)
    }
    assert len(set(values.values())) == case.all_tags
    for connection, tag in ((0, 0), (3, 999), (9, 500)):
        assert {values[value(connection, tag, phase)] for phase in range(PHASES)} == {(connection, tag)}


def test_the_device_answers_as_the_protocol_asks() -> None:
    """A read gives the registers; a wrong function, count or address the exception 1, 3 or 2."""
    device = Device([registers(SMALL, 1, phase) for phase in range(PHASES)])
    for tag, place in enumerate(addresses(SMALL)):
        answer = device.answer(struct.pack(">HHHBBHH", 7, 0, 6, 9, 3, place, 2))
        head = struct.unpack_from(">HHHBBB", answer)
        assert head == (7, 0, 7, 9, 3, 4)
        assert struct.unpack(">f", answer[9:]) == (value(1, tag, 0),)
    for function, start, quantity, code in ((4, 0, 1, 1), (3, 0, 0, 3), (3, 0, 126, 3), (3, 60000, 1, 2)):
        answer = device.answer(struct.pack(">HHHBBHH", 7, 0, 6, 9, function, start, quantity))
        assert answer == struct.pack(">HHHBBB", 7, 0, 3, 9, function | 0x80, code)
    assert len(device.began) == 1


def reading(connection: int, data: dict[str, float | None]) -> FluxMsg:
    src = f"{RACK}/{gear_name(connection)}"
    return FluxMsg(id=bytes(16), ts=1, src=src, uns="bench/poll", schema=TAGS, data=data)


def test_every_stored_value_is_judged() -> None:
    """A value of another tag, or of another device, is wrong; a null or absent one is missing."""
    right = {tag_name(tag): value(1, tag, 3) for tag in range(SMALL.tags)}
    assert count(SMALL, [reading(1, dict(right))]) == (7, 0, 0)
    assert count(SMALL, [reading(0, dict(right))]) == (0, 7, 0)
    shifted = {tag_name(tag): value(1, tag + 1, 3) for tag in range(SMALL.tags)}
    assert count(SMALL, [reading(1, dict(shifted))]) == (0, 7, 0)
    partly = {**right, "tag0003": None}
    del partly["tag0004"]
    assert count(SMALL, [reading(1, partly)]) == (5, 0, 2)


def test_the_rack_file_is_one_that_checks(tmp_path: Path) -> None:
    """The generated Rack file passes `fluxrig check`."""
    from fluxrig.catalog import installed
    from fluxrig.rackfile import load

    file = tmp_path / "rack.yaml"
    for case in CASES.values():
        file.write_text(json.dumps(rack_file(case, list(range(5000, 5000 + case.connections)))))
        assert len(load(file, installed(), {}).gears) == case.connections


def test_usage_is_that_of_the_process() -> None:
    """CPU seconds and resident memory are those that the process knows of itself."""
    before = sum(usage(os.getpid()).cpu_s.values())
    ours = os.times()
    assert before == pytest.approx(ours.user + ours.system, abs=0.5)
    assert sum(usage(os.getpid()).rss_bytes.values()) > 10 << 20


def test_a_short_run_gives_the_figures() -> None:
    """In real processes, a second's run fills every promised key, and no value is wrong."""
    result = CliRunner().invoke(app, ["bench", "poll", "--json", "--seconds", "1", "--case", "fast"])
    assert result.exit_code == 0, result.output
    document = json.loads(result.stdout)
    assert set(document) == {"tags_per_s", "cores", "rss_mib", "overrun_ratio", "jitter_ms", "cases"}
    assert set(document["jitter_ms"]) == {"p50", "p99", "p999"}
    fast = document["cases"]["fast"]
    assert (fast["wrong_values"], fast["missing_values"]) == (0, 0)
    assert fast["polls"] > 0
    assert document["tags_per_s"] > 100
    assert document["rss_mib"] > 20
    assert 0 <= document["overrun_ratio"] <= 1
