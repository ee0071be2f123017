"""What nats-server says at its end, in one line that tells what to do."""

from __future__ import annotations

from pathlib import Path

import pytest

from fluxrig.bus.server_log import explain, tail, write_failed


@pytest.mark.parametrize(
    ("said", "told"),
    [
        ("", ""),
        ("[7] 09:04:40.1 [INF] Server is ready\n", ""),
        (
            "[7] 09:04:40.1 [FTL] Error listening on port: 127.0.0.1:7422, bind: address already in use\n",
            "Error listening on port: 127.0.0.1:7422, bind: address already in use; "
            "stop what uses the port, or choose another",
        ),
        (
            "[7] 09:04:40.1 [ERR] first\n[7] 09:04:40.2 [ERR] write x: no space left on device\n"
            "[7] 09:04:40.3 [INF] Server Exiting..\n",
            "write x: no space left on device; free some disk space",
        ),
        ("nats-server: server.conf:3:1: unknown field\n", "nats-server: server.conf:3:1: unknown field"),
    ],
)
def test_the_last_error_is_told_with_advice(said: str, told: str) -> None:
    """The last fatal line or error counts, without time and process; what is known gets advice."""
    assert explain(said) == told


def test_a_failed_write_is_known() -> None:
    """The line by which JetStream says that it gave up a stream is recognised, and others are not."""
    assert write_failed(
        "[7] [ERR] Filestore [UNS] Critical write error: write 3.blk: no space left on device"
    )
    assert not write_failed("[7] [INF] Server is ready")


def test_the_tail_is_bounded_and_starts_where_asked(tmp_path: Path) -> None:
    """A long log is read from its end; a start behind the end means that the file was begun anew."""
    log = tmp_path / "server.log"
    assert tail(log) == ""
    log.write_text("x" * 50_000 + "end")
    assert len(tail(log)) <= 16_384
    assert tail(log, 50_000) == "end"
    log.write_text("new")
    assert tail(log, 50_000) == "new"
