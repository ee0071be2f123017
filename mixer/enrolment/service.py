"""Enrolment as a part of the running Mixer."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any, Self

from fluxrig.errors import FluxrigError
from fluxrig.identity import certificates
from fluxrig.identity.address import Address
from mixer.enrolment.desk import Desk, Entrance
from mixer.enrolment.issuer import Issuer
from mixer.enrolment.operator import Operator
from mixer.enrolment.registry import Rack, Registry
from mixer.enrolment.server import EnrolmentServer
from mixer.enrolment.tokens import Tokens


class Enrolment:
    """Takes enrolments for as long as it is entered.

    `folder` has the join tokens; `issuer` signs what lets Racks in, `entrance` is where their leaves dial;
    `host` and `port` are to listen on, `names` what Racks reach that by, the usual one first;
    `health` gives what a list of Racks shows beside what the registry has.
    """

    def __init__(
        self,
        *,
        folder: Path,
        registry: Registry,
        issuer: Issuer,
        entrance: Entrance,
        host: str,
        port: int,
        names: Sequence[str],
        health: Callable[[Rack], dict[str, Any]] | None = None,
    ) -> None:
        self._registry, self._issuer, self._names = registry, issuer, names
        self._tokens = Tokens(folder / "tokens.json")
        self._desk = Desk(registry, self._tokens, issuer, entrance)
        self._server = EnrolmentServer(self._desk, issuer.ca, host=host, port=port, names=names)
        self._health = health or (lambda _: {})

    @property
    def address(self) -> Address:
        """Where Racks reach it, once it is entered."""
        return Address(self._names[0], self._server.port)

    async def __aenter__(self) -> Self:
        await self._server.start()
        self._operator = Operator(
            self._registry,
            self._tokens,
            self._project,
            self.address,
            certificates.fingerprint(self._issuer.ca.certificate),
            health=self._health,
        )
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._server.stop()

    async def operator(self, subject: str, payload: bytes) -> bytes:
        """Answer operators: see `mixer.enrolment.operator`."""
        return await self._operator.answer(subject, payload)

    def _project(self, name: str) -> object:
        """Give None when there is no such project. FluxrigError when nobody can be let in."""
        if self._issuer.closed:
            raise FluxrigError(self._issuer.closed)
        return self._issuer.account(name)

    def renew(self, project: str) -> Callable[[str, bytes], Awaitable[bytes]]:
        """Give what answers `fluxrig.mixer.<rack>.renew` on the bus of a project."""

        async def answer(subject: str, payload: bytes) -> bytes:
            rack = subject.split(".")[2]
            return self._desk.renew(project, rack, payload).model_dump_json().encode()

        return answer
