"""What is wrong between the tags that a server is to serve. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Final

from fluxrig.modbus.tag import Tag
from fluxrig.modbus.tag_config import MAX_TAGS, fault
from fluxrig.modbus.tag_file import at_tag, in_file
from fluxrig.modbus.wholes import Found, Loc
from gears.modbus_server.image import bits_of

if TYPE_CHECKING:
    from gears.modbus_server.config import Config

_WITH_TAGS: Final = frozenset({"tags", "tag_list"})


def served_faults(config: Config, lacking: Sequence[Loc]) -> list[Found]:
    """Give what is wrong, and where; `lacking` is what was wrong in itself, and is left out."""
    return [*_count_faults(config, lacking), *_place_faults(config), *_name_faults(config)]


def _count_faults(config: Config, lacking: Sequence[Loc]) -> Iterator[Found]:
    count = len(config.all_tags)
    if config.tag_list is not None and config.tag_list.faults:
        yield ("tag_list",), in_file(config.tag_list.faults)
    elif not count and not any(loc[:1] == () or loc[0] in _WITH_TAGS for loc in lacking):
        yield (), fault("there are no tags; give tags, or a tag_list")
    if count > MAX_TAGS:
        yield (), fault(f"{count:,} tags are more than the {MAX_TAGS:,} that a server may have")


def _place_faults(config: Config) -> Iterator[Found]:
    """Tags at places that there are not, and tags that claim bits of another."""
    claims: dict[tuple[str, int], list[Tag]] = {}
    for name, served in config.all_tags.items():
        try:
            tag = served.to_tag(name, config.address_base)
        except ValueError as error:
            yield _fault(config, name, str(error))
            continue
        if (other := _claimed_before(tag, claims)) is not None:
            both = f"{other.name} ({other.at}) and {name} ({tag.at})"
            yield _fault(config, name, f"{both} claim the same bits; move one of them")


def _claimed_before(tag: Tag, claims: dict[tuple[str, int], list[Tag]]) -> Tag | None:
    """Claim the bits of a tag, and give one that has some of them already."""
    found = None
    for number in range(tag.start, tag.end):
        claimed = claims.setdefault((tag.at.table, number), [])
        found = found or next((other for other in claimed if bits_of(tag) & bits_of(other)), None)
        claimed.append(tag)
    return found


def _name_faults(config: Config) -> Iterator[Found]:
    """Two tags that would be one in a message of what a client wrote."""
    names: dict[str, str] = {}
    for name, tag in config.all_tags.items():
        other = names.setdefault(tag.tag or name, name) if tag.write else name
        if other != name:
            both = f"{other} and {name} are both written as {tag.tag or name}"
            yield _fault(config, name, f"{both}; let only one have write: true")


def _fault(config: Config, name: str, reason: str) -> Found:
    """Say it where the tag is written: here, or in the list."""
    if name in config.tags or config.tag_list is None:
        return ("tags", name), fault(reason)
    return ("tag_list",), at_tag(config.tag_list, name, reason)
