"""Logs of long-running commands: plain lines on stderr, for a terminal and the journal alike."""

from __future__ import annotations

import logging
import sys
from typing import Annotated, Literal, TypeAlias

import typer

Level: TypeAlias = Literal["debug", "info", "warning", "error"]
LogLevel: TypeAlias = Annotated[Level, typer.Option(help="How much to log on stderr.")]


def set_up_logs(level: Level) -> None:
    """Log fluxrig at `level`, and what it is built on from warnings up."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)-7s %(name)s: %(message)s"))
    logging.basicConfig(level=logging.WARNING, handlers=[handler], force=True)
    logging.getLogger("fluxrig").setLevel(level.upper())
