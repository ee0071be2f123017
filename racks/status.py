"""How the Rack on a state folder is: from its last report, and whether it runs from the lock on its store."""

from __future__ import annotations

import fcntl
import json
import os
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from cryptography import x509

from fluxrig.errors import FluxrigError
from racks.record import State
from racks.report import REPORT

STALE_S: Final = 15.0
"""A Rack that runs writes its report twice a second; one that has not for so long hangs."""


def status(state_dir: Path, now_ns: int) -> dict[str, Any]:
    """Give how a Rack is. FluxrigError when none ever ran on the folder."""
    report = _report(state_dir)
    running = _is_held(state_dir / "leaf" / "lock")
    age_s = max(0.0, (now_ns - report["written_ns"]) / 1e9)
    link, store = report["link"], report["store"]
    found: dict[str, Any] = {
        "rack": report["rack"],
        "uns": report["uns"],
        "state_dir": str(state_dir),
        "running": running,
        "pid": report["pid"] if running else None,
        "started_ns": report["started_ns"],
        "report_age_s": round(age_s, 3),
        "link": link and {**link, "up": bool(link["up"] and running)},
        "backlog": _backlog(store["streams"], now_ns),
        "store": {**store, "used": sum(one["bytes"] for one in store["streams"].values())},
        "certificate": certificate(state_dir / "identity" / "tls.pem", now_ns),
        "gears": report["gears"],
        "accepted": report["accepted"],
    }
    found["problems"] = _problems(found)
    return found


def certificate(path: Path, now_ns: int) -> dict[str, Any] | None:
    """Give when the Rack's certificate ends; None where it has none."""
    try:
        ends = x509.load_pem_x509_certificate(path.read_bytes()).not_valid_after_utc
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        return {"ends": None, "left_s": 0, "fault": f"{path} can't be read: {error}"}
    left_s = round(ends.timestamp() - now_ns / 1e9)
    return {"ends": ends.isoformat(), "left_s": left_s, "fault": "" if left_s > 0 else "it has ended"}


def _report(state_dir: Path) -> dict[str, Any]:
    path = state_dir / REPORT
    unreadable = f"{path} can't be read as a Rack's report; a running Rack writes it anew"
    try:
        report: Any = json.loads(path.read_text("utf-8"))
    except FileNotFoundError:
        raise FluxrigError(
            f"no Rack ran on {state_dir} so far; start it with `fluxrig run`, or give its --state folder"
        ) from None
    except (OSError, ValueError):
        raise FluxrigError(unreadable) from None
    if not isinstance(report, dict) or not {"pid", "written_ns", "link", "store", "gears"} <= report.keys():
        raise FluxrigError(unreadable)
    found: dict[str, Any] = report
    return found


def _is_held(lock: Path) -> bool:
    """Tell whether a Rack, or the server that it started, has the store."""
    try:
        descriptor = os.open(lock, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(descriptor)
    return False


def _backlog(streams: dict[str, Any], now_ns: int) -> dict[str, Any]:
    """Add up what waits for the Mixer."""
    times = [_seconds(one["oldest"]) for one in streams.values() if one["oldest"]]
    return {
        "messages": sum(one["backlog"] for one in streams.values()),
        "bytes": sum(one["backlog_bytes"] for one in streams.values()),
        "oldest_age_s": round(max(0.0, now_ns / 1e9 - min(times)), 1) if times else None,
    }


def _seconds(time: str) -> float:
    with suppress(ValueError):
        return datetime.fromisoformat(time).astimezone(UTC).timestamp()
    return 0.0


def _problems(found: dict[str, Any]) -> list[str]:
    """Say in one line each what an operator should know."""
    store, link, certified = found["store"], found["link"], found["certificate"]
    if not found["running"]:
        return ["the Rack is not running; this is from when it ran last"]
    problems = []
    if found["report_age_s"] > STALE_S:
        problems.append(f"the Rack has said nothing for {found['report_age_s']:.0f} s: it hangs")
    if link and not link["up"]:
        problems.append(f"no contact with the Mixer at {link['to']}: {link['last_error'] or 'not yet'}")
    for name, one in store["streams"].items():
        if one["waiting"]:
            problems.append(f"{name} takes nothing: {one['waiting']}")
        if one["dropped"]:
            problems.append(f"{name} dropped {one['dropped']} messages by policy ({store['when_full']})")
        if one["lost"]:
            problems.append(f"{name} lost {one['lost']} messages on the disk")
    if certified and certified["fault"]:
        problems.append(f"the certificate: {certified['fault']}")
    problems += [
        f"{name} stopped for good: {gear['last_error']}"
        for name, gear in found["gears"].items()
        if gear["state"] == State.FAILED
    ]
    return problems
