"""Through an outage, on real processes: nothing is missing, it is marked, and people see what is live."""

from __future__ import annotations

import json
import os
import subprocess
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from mixer.audit.query import query
from tests.processes import FLUXRIG, MIXER, read_json, until
from tests.test_whole_path import Site


def ask(*command: str) -> tuple[int, Any]:
    """Run a command with --json; give its exit code and what it printed."""
    done = subprocess.run([*command, "--json"], capture_output=True, text=True, check=False, env=os.environ)
    return done.returncode, json.loads(done.stdout) if done.stdout else None


class Watched(Site):
    """A site whose Rack's own report is looked at."""

    @property
    def report(self) -> dict[str, Any]:
        return read_json(self.folder / "state" / "report.json")


class Operator:
    """What people see of a site from outside."""

    def __init__(self, site: Site) -> None:
        self._site = site

    def rack(self) -> tuple[int, dict[str, Any]]:
        return ask(*FLUXRIG, "status", "--state", str(self._site.folder / "state"))

    def mixer(self, *command: str) -> tuple[int, Any]:
        return ask(*MIXER, *command, "--data", str(self._site.folder / "mixer"))

    def sql(self, sql: str) -> list[tuple[Any, ...]]:
        with query(self._site.folder / "mixer" / "audit", sql) as reader:
            return [tuple(row.values()) for batch in reader for row in batch.to_pylist()]


@pytest.mark.timeout(180)
def test_an_outage_is_seen_outlived_and_accounted_for(tmp_path: Path) -> None:
    """Status tells link and backlog, the live lane what is true now, the ledger that nothing is missing."""
    with ExitStack() as stack:
        site = Watched.start(tmp_path, stack)
        people = Operator(site)
        until(lambda: site.committed > 500, "the first messages in Parquet", 60)
        code, found = people.rack()
        assert (code, found["problems"], found["link"]["up"]) == (0, [], True)
        online = site.accepted
        site.mixer.process.kill()
        until(lambda: site.report["link"]["up"] is False, "the Rack to notice")
        code, found = people.rack()
        assert code == 1
        assert any("no contact with the Mixer" in line for line in found["problems"])
        before = site.accepted
        until(lambda: site.accepted > before + 3000, "a backlog")
        until(lambda: site.report["store"]["streams"]["UNS"]["oldest"], "the age of the backlog")
        backlog = people.rack()[1]["backlog"]
        assert backlog["messages"] > 1000
        assert backlog["oldest_age_s"] is not None
        site.kill_mixer()
        until(lambda: site.report["link"]["up"], "the Rack to be back", 60)
        until(lambda: people.mixer("live")[1]["assets"], "what is live", 60)
        (asset,) = people.mixer("live", "acme")[1]["assets"]
        assert asset["uns"] == "acme/lyon/counter"
        assert asset["data"]["seq"] > before
        assert people.rack()[0] == 0
        (rack,) = people.mixer("status")[1]["racks"]
        assert rack["health"]["online"]
        assert abs(rack["health"]["clock_offset_ms"]) < 1000
        assert site.rack.stop(limit_s=60)[0] == 0, site.rack.said()
        assert site.mixer.stop(limit_s=60)[0] == 0, site.mixer.said()
        code, ledger = people.mixer("audit", "ledger")
        assert code == 0, ledger
        (uns,) = [one for one in ledger if one["stream"] == "UNS"]
        assert (uns["rows"], uns["counts"]) == (uns["last"] + 1, {})
        marked = [seq for (seq,) in people.sql("SELECT leaf_seq FROM messages WHERE flags & 1 ORDER BY ALL")]
        meanwhile = [seq for seq in marked if seq > online]
        assert meanwhile == [*range(meanwhile[0], meanwhile[0] + len(meanwhile))]
        assert len(meanwhile) > 3000
        assert people.rack()[0] == 1
        assert "not running" in people.rack()[1]["problems"][0]
