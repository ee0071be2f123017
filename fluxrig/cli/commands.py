"""The reference of a console script, taken from its command tree."""

from __future__ import annotations

import inspect
from typing import Any

import typer


def commands_markdown(app: typer.Typer, name: str, level: int = 2) -> str:
    """Give the reference of a Typer application and all its commands."""
    return "\n\n".join(_command(typer.main.get_command(app), name, None, level))


def _command(command: Any, name: str, parent: typer.Context | None, level: int) -> list[str]:
    context = typer.Context(command, info_name=name, parent=parent)
    usage = " ".join([context.command_path, *command.collect_usage_pieces(context)])
    parts = [f"{'#' * level} {context.command_path}"]
    parts += [inspect.cleandoc(command.help)] if command.help else []
    parts.append(f"```\n{usage}\n```")
    parts += _parameters(command, context)
    for child in command.list_commands(context) if hasattr(command, "list_commands") else ():
        parts += _command(command.get_command(context, child), child, context, min(level + 1, 6))
    return parts


def _parameters(command: Any, context: typer.Context) -> list[str]:
    records = [parameter.get_help_record(context) for parameter in command.get_params(context)]
    lines = [f"- `{name}`: {' '.join(text.split())}" for name, text in filter(None, records)]
    return ["\n".join(line for line in lines if not line.startswith("- `--help`"))] if len(lines) > 1 else []
