"""Configuration of `modbus_server`."""

from __future__ import annotations

from collections.abc import Iterable
from functools import cached_property
from ipaddress import IPv4Network, IPv6Network
from typing import Annotated, Any, Final, Literal, TypeAlias
from urllib.parse import urlsplit

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    ModelWrapValidatorHandler,
    PlainSerializer,
    ValidationInfo,
    WithJsonSchema,
    model_validator,
)

from fluxrig.duration import Seconds
from fluxrig.gear import IN, GearConfig, Manifest
from fluxrig.modbus.address import WRITABLE_TABLES, AddressBase
from fluxrig.modbus.tag import Tag
from fluxrig.modbus.tag_config import MAX_TAGS, Finite, TagConfig, TagName, fault
from fluxrig.modbus.tag_file import TagList, from_file, load_tag_list
from fluxrig.modbus.wholes import validated
from gears.modbus_server.served import served_faults

PORT: Final = 502

Network: TypeAlias = IPv4Network | IPv6Network


def parse_listen(text: str) -> tuple[str, int]:
    """Give host and port of `tcp://host:port`. Raises ValueError that says what to write."""
    try:
        parts = urlsplit(text)
        host, port = parts.hostname or "", PORT if parts.port is None else parts.port
    except ValueError:
        parts, host, port = urlsplit(""), "", 0
    if parts.scheme != "tcp" or not host or parts.netloc != text.removeprefix("tcp://") or "@" in text:
        raise ValueError(
            f"{text[:64]!r} is no place to listen; write tcp://address:port, such as tcp://10.20.0.5:502"
        )
    return host, port


def _listen(text: str) -> str:
    try:
        parse_listen(text)
    except ValueError as error:
        raise fault(str(error)) from None
    return text


class ServedTag(TagConfig):
    """One tag, and where clients find it."""

    tag: TagName | None = None
    """Its name in the messages, where that is not the name here. `north/temperature` is the tag of the asset
    `north`: of a device of `io_modbus`, whose tags may have the names of another's."""
    source: Annotated[str, Field(min_length=1, max_length=128)] | None = None
    """The gear whose messages it is taken from; from any if nothing is said."""
    write: bool = False
    """Whether clients may write it. What they write is emitted, and served once it comes in on `in`."""
    min: Finite | None = None
    """The smallest value that a client may write."""
    max: Finite | None = None
    """The largest value that a client may write."""

    @model_validator(mode="after")
    def _can_be_written(self) -> ServedTag:
        if self.write and self.at.table not in WRITABLE_TABLES:
            instead = "coil" if self.at.table == "discrete" else "holding"
            raise fault(f"clients can't write to {self.at.table}; remove write, or use at: {instead}/…")
        if not self.write and (self.min is not None or self.max is not None):
            raise fault("min and max are for tags that clients may write; add write: true, or remove them")
        if (self.min is not None or self.max is not None) and self.value_type in {"bool", "string"}:
            raise fault(f"a {self.value_type} has no min and max; remove them")
        if self.min is not None and self.max is not None and self.min > self.max:
            raise fault(f"min {self.min:g} is above max {self.max:g}; swap them")
        return self


def _tag_list(value: object, info: ValidationInfo) -> object:
    return from_file(value, info, lambda path: load_tag_list(path, ServedTag, partial=True))


class Config(GearConfig):
    """Where to listen, and what to serve."""

    listen: Annotated[str, AfterValidator(_listen)]
    """Where clients connect: `tcp://address:port`, the address being one of this machine's, or 0.0.0.0 for
    all of them. The port is 502 if nothing is said, and a free one if it is 0."""
    unit: int | None = Field(default=None, ge=0, le=255)
    """The unit identifier that is answered; others get exception 11. Every unit is answered if nothing is
    said."""
    address_base: AddressBase = 0
    """Whether the addresses here count from 0, as the protocol does, or from 1, as many manuals do."""
    when_bad: Literal["exception", "last"] = "exception"
    """What a read gets when a tag in it is bad: `exception` 4 (server device failure), or the `last` good
    value. A tag that never had a value always gets the exception: no value is made up."""
    max_age: Seconds | None = None
    """A tag that got no value for so long is bad, too. Longer than any silence of what feeds it, such as the
    `max_silence` of a deadband."""
    holes: Literal["exception", "zero"] = "exception"
    """What a read across addresses without a tag gets: `exception` 2 (illegal data address), or `zero` for
    those between the first and the last tag of the table."""
    max_clients: int = Field(default=16, ge=1, le=1000)
    """Connections at the same time; one more is closed at once."""
    allow: Annotated[tuple[Network, ...], Field(max_length=100)] = ()
    """The networks that clients may come from, such as 10.20.0.0/16; from everywhere if nothing is said."""
    idle_timeout: Seconds = 300.0
    """A client that asks nothing for so long, or does not take its answer, is let go."""
    write_timeout: Seconds = 2.0
    """How long a client waits until what it wrote is taken by all that `out` is wired to; then it is answered
    with exception 5 (acknowledge): accepted, under way."""
    tag_list: Annotated[
        TagList[ServedTag] | None,
        BeforeValidator(_tag_list),
        PlainSerializer(str, when_used="json"),
        WithJsonSchema({"type": "string", "minLength": 1}),
    ] = None
    """A CSV file with one tag a line, the first line naming the columns: `name`, `at`, and any other key of a
    tag. Relative to the Rack file."""
    tags: dict[TagName, ServedTag] = Field(default_factory=dict, max_length=MAX_TAGS)
    """The tags by name; one that is in the list too is as it is said here."""

    @model_validator(mode="wrap")
    @classmethod
    def _whole(cls, values: Any, handler: ModelWrapValidatorHandler[Config]) -> Config:
        """Find what is wrong with values and between tags at once, not one after the other."""
        return validated(values, handler, served_faults, {"listen": "tcp://0.0.0.0"})

    @cached_property
    def all_tags(self) -> dict[str, ServedTag]:
        """Give the tags of the list, and those that are said here."""
        return {**(self.tag_list.tags if self.tag_list else {}), **self.tags}

    @property
    def address(self) -> tuple[str, int]:
        """Host and port."""
        return parse_listen(self.listen)

    def to_serve(self) -> dict[str, Tag]:
        """Give the tags at their protocol addresses."""
        return {name: config.to_tag(name, self.address_base) for name, config in self.all_tags.items()}

    def clashes(self, other: Config, name: str, *, apart: bool) -> Iterable[tuple[str, str]]:
        """Find two servers that would listen at one place."""
        if self.address == other.address and self.address[1] != 0:
            yield "listen", f"{name!r} listens on {other.listen} already; take another port"


MANIFEST = Manifest(
    kind="modbus_server",
    summary="Serves tags as Modbus registers and coils over TCP",
    config=Config,
    gear="gears.modbus_server.gear:ModbusServer",
    inputs=(IN,),
    source=True,
)
