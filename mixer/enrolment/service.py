"""Enrolment as a part of the running Mixer."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any, Self

from fluxrig.identity import certificates
from fluxrig.identity.address import Address
from fluxrig.identity.nkey import KeyPair
from mixer.enrolment.desk import Desk
from mixer.enrolment.issuer import CERTIFICATE_LIFE_S, Issuer
from mixer.enrolment.operator import Operator
from mixer.enrolment.registry import Rack, Registry
from mixer.enrolment.server import EnrolmentServer
from mixer.enrolment.tokens import Tokens


class Enrolment:
    """Takes enrolments for as long as it is entered.

    `folder` has the join tokens; `account` gives the key of a project, or None; `leaf_port` is where leaves
    dial; `host` and `port` are to listen on, `names` what Racks reach that by, the usual one first;
    `health` gives what a list of Racks shows beside what the registry has.
    """

    def __init__(
        self,
        *,
        folder: Path,
        registry: Registry,
        ca: certificates.Authority,
        account: Callable[[str], KeyPair | None],
        leaf_port: int,
        host: str,
        port: int,
        names: Sequence[str],
        life_s: float = CERTIFICATE_LIFE_S,
        health: Callable[[Rack], dict[str, Any]] | None = None,
    ) -> None:
        self._registry, self._account, self._names = registry, account, names
        self._tokens = Tokens(folder / "tokens.json")
        self._ca = certificates.fingerprint(ca.certificate)
        self._desk = Desk(registry, self._tokens, Issuer(ca, account, life_s), leaf_port)
        self._server = EnrolmentServer(self._desk, ca, host=host, port=port, names=names)
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
            self._account,
            self.address,
            self._ca,
            health=self._health,
        )
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._server.stop()

    async def operator(self, subject: str, payload: bytes) -> bytes:
        """Answer operators: see `mixer.enrolment.operator`."""
        return await self._operator.answer(subject, payload)

    def renew(self, project: str) -> Callable[[str, bytes], Awaitable[bytes]]:
        """Give what answers `fluxrig.mixer.<rack>.renew` on the bus of a project."""

        async def answer(subject: str, payload: bytes) -> bytes:
            rack = subject.split(".")[2]
            return self._desk.renew(project, rack, payload).model_dump_json().encode()

        return answer
