"""Kinds of option that several commands take."""

from __future__ import annotations

import typer

from fluxrig.duration import parse_duration


def seconds(text: str) -> float:
    """Parse an option's duration, such as `30s`."""
    try:
        return parse_duration(text)
    except ValueError as error:
        raise typer.BadParameter(str(error)) from None
