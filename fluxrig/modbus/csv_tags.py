"""Tags from a table with one tag a line, as machine builders hand them over. Pure.

The first line names the columns: `name`, `at` and any other key of a tag; one without a name is passed over.
Cells are parted by commas, semicolons or tabs, whichever the first line uses. Lines that are empty or begin
with `#` are passed over.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, TypeVar

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from fluxrig.modbus import csv_words
from fluxrig.modbus.tag_config import MAX_TAGS, TagConfig
from fluxrig.rackfile.faults import WHOLE_FILE, Faults, Mark, nearest, shown
from fluxrig.rackfile.nodes import resolve
from fluxrig.rackfile.words import meant, wants

LISTS: Final = frozenset({"allowed"})
"""Columns whose cells are lists, parted by `|`."""

_MAX_NAME: Final = 128
_TEXTS: Final = frozenset({"at", "every", "unit", csv_words.TABLE})
_SEPARATOR_LINE: Final = re.compile(r"sep=.", re.IGNORECASE)
"""What spreadsheets write before the columns; the columns say it, too."""
T = TypeVar("T", bound=TagConfig)


@dataclass(frozen=True, slots=True)
class Cell:
    """One field of a line. `column` counts characters from 1."""

    column: int
    text: str


def read_tags(text: str, model: type[T], faults: Faults) -> tuple[dict[str, T], dict[str, Mark]]:
    """Give the tags of a CSV text and where each stands, adding a fault for all that is wrong."""
    lines = [
        (n, line) for n, line in enumerate(text.splitlines(), 1) if line.strip(" ,;\t") and line[0] != "#"
    ]
    if lines and _SEPARATOR_LINE.fullmatch(lines[0][1]):
        del lines[0]
    if not lines:
        faults.stop(WHOLE_FILE, "the file is empty; begin with a line of columns, such as name,at,type")
    separator = max(",;\t", key=lines[0][1].count)
    columns = _columns(*lines[0], separator, model, faults)
    tags: dict[str, T] = {}
    marks: dict[str, Mark] = {}
    for number, line in lines[1:]:
        if len(tags) >= MAX_TAGS:
            faults.add(Mark(number, 1), f"a device has at most {MAX_TAGS:,} tags")
            break
        cells = _cells(number, line, separator, faults)
        if cells is None or not _counts(number, cells, columns, faults):
            continue
        row = {
            name: Cell(cell.column, csv_words.cell(name, cell.text, separator))
            for name, cell in zip(columns, cells, strict=False)
            if name and cell.text
        }
        _take(number, row, model, faults, tags=tags, marks=marks)
    if not tags and not faults:
        faults.add(Mark(lines[0][0], 1), "the file has columns, but no tags")
    return tags, marks


def _columns(number: int, line: str, separator: str, model: type[T], faults: Faults) -> list[str]:
    """Give the key of each column, "" for one that is passed over."""
    known = ["name", csv_words.TABLE, *model.model_fields]
    names: list[str] = []
    for cell in _cells(number, line, separator, faults) or ():
        word = csv_words.column(cell.text)
        mark = Mark(number, cell.column)
        if word in names and word:
            faults.add(mark, f"the column {shown(cell.text)} is there twice; keep one")
        elif word and word not in known and word not in csv_words.COMMENTS:
            word, hint = "", nearest(word, [*known, *csv_words.ALIASES])
            faults.add(mark, f"there is no column {shown(cell.text)}{hint}; without a name it is passed over")
        names.append("" if word in csv_words.COMMENTS else word)
    for name in ("name", "at"):
        if name not in names:
            if not faults:
                missing = f"the column {name!r} is missing; begin with a line such as name,at,type"
                faults.add(Mark(number, 1), missing)
            raise faults.error()
    return names


def _counts(number: int, cells: Sequence[Cell], columns: Sequence[str], faults: Faults) -> bool:
    extra = [cell for cell in cells[len(columns) :] if cell.text]
    if extra:
        faults.add(
            Mark(number, extra[0].column),
            f"the line has {len(cells)} cells, the first line names {len(columns)}; "
            "put quotes around a text with the separator in it",
        )
    return not extra


def _take(
    number: int,
    row: Mapping[str, Cell],
    model: type[T],
    faults: Faults,
    *,
    tags: dict[str, T],
    marks: dict[str, Mark],
) -> None:
    """Make one line a tag, or say what is wrong with it."""
    for key in ("name", "at"):
        if key not in row:
            faults.add(Mark(number, 1), f"the tag has no {key}; fill in its cell, or remove the line")
            return
    name, mark = row["name"].text, Mark(number, row["name"].column)
    if len(name) > _MAX_NAME:
        faults.add(mark, f"a tag's name has at most {_MAX_NAME} characters")
    elif name in marks:
        faults.add(mark, f"there is a tag {shown(name)} at line {marks[name].line} already; keep one of them")
    marks.setdefault(name, mark)
    values = {key: _value(key, cell.text, row) for key, cell in row.items() if key != "name"}
    if (table := values.pop(csv_words.TABLE, None)) is not None:
        values["at"] = csv_words.place(table, row["at"].text)
    try:
        tags[name] = model.model_validate(values)
    except ValidationError as error:
        for details in _first_of_each(error.errors(include_url=False, include_input=False)):
            key = str(details["loc"][0]) if details["loc"] else ""
            place = row.get(key, row["name"])
            faults.add(Mark(number, place.column), _explain(key, place.text, details, faults))


def _first_of_each(errors: Sequence[ErrorDetails]) -> Iterator[ErrorDetails]:
    """Give one error for each cell: the alternatives of a union say the same thing several times."""
    seen: set[object] = set()
    for details in errors:
        if (key := details["loc"][:1]) not in seen:
            seen.add(key)
            yield details


def _value(key: str, text: str, row: Mapping[str, Cell]) -> Any:
    """Give what a cell says, as YAML would have it, but for what is text in any case."""
    if key in LISTS:
        is_text = "type" in row and row["type"].text == "string"
        return [part.strip() if is_text else resolve(part.strip()) for part in text.split("|")]
    return text if key in _TEXTS else resolve(text)


def _explain(key: str, text: str, details: ErrorDetails, faults: Faults) -> str:
    if key and (wanted := wants(details)) is not None:
        hint = "" if faults.are_plenty else meant([details], text)
        return f"{key!r} must {wanted}, not {shown(text)}{hint}"
    message = details["msg"]
    return f"{key!r}: {message}" if key else message


def _cells(number: int, line: str, separator: str, faults: Faults) -> list[Cell] | None:
    """Part a line. A cell in double quotes may have the separator in it; two quotes there are one."""
    cells: list[Cell] = []
    at = 0
    while at <= len(line):
        begin = at + len(line[at:]) - len(line[at:].lstrip(" "))
        if line[begin : begin + 1] == '"':
            text, at = _quoted(line, begin)
            if at < 0 or line[at : at + 1] not in ("", separator):
                faults.add(Mark(number, begin + 1), "the quote is not closed before the next cell")
                return None
        else:
            at = (line + separator).index(separator, at)
            text = line[begin:at].strip()
        cells.append(Cell(begin + 1, text))
        at += 1
    return cells


def _quoted(line: str, begin: int) -> tuple[str, int]:
    """Give the text in quotes that begins there, and the place behind it; -1 if it has no end."""
    end = begin + 1
    while (end := line.find('"', end)) >= 0 and line[end + 1 : end + 2] == '"':
        end += 2
    if end < 0:
        return "", -1
    behind = end + 1
    while line[behind : behind + 1] == " ":
        behind += 1
    return line[begin + 1 : end].replace('""', '"').strip(), behind
