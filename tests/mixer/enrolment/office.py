"""An enrolment server with everything behind it, and Racks that come to it over real connections."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from fluxrig.identity import certificates
from fluxrig.identity.address import Address
from fluxrig.identity.folder import Identity, IdentityFolder
from fluxrig.identity.join import JoinToken
from fluxrig.identity.joining import Joining
from fluxrig.identity.nkey import KeyPair, Kind
from mixer.enrolment.desk import Desk, Entrance
from mixer.enrolment.issuer import Issuer
from mixer.enrolment.limits import Gate, Limits
from mixer.enrolment.registry import Rack, Registry
from mixer.enrolment.server import EnrolmentServer
from mixer.enrolment.tokens import Tokens

RACK = "press-line-3"
UNS = "acme/lyon/press"


class Office:
    """A Mixer as far as enrolment goes."""

    def __init__(self, folder: Path, limits: Limits | None = None, timeout_s: float = 10.0) -> None:
        folder.mkdir(exist_ok=True)
        self.folder = folder
        self.ca = certificates.make_ca("fluxrig test")
        self.accounts = {"default": KeyPair.create(Kind.ACCOUNT), "other": KeyPair.create(Kind.ACCOUNT)}
        self.registry = Registry(folder / "racks.json")
        self.tokens = Tokens(folder / "tokens.json")
        self.desk = Desk(self.registry, self.tokens, Issuer(self.ca, self.accounts.get), Entrance(7422))
        self.server = EnrolmentServer(
            self.desk,
            self.ca,
            host="127.0.0.1",
            port=0,
            names=["127.0.0.1"],
            gate=Gate(limits or Limits()),
            timeout_s=timeout_s,
        )

    def certificates_live(self, life_s: float) -> None:
        issuer = replace(self.desk.issuer, life_s=life_s)
        self.desk = self.server._desk = replace(self.desk, issuer=issuer)

    @property
    def address(self) -> Address:
        return Address("127.0.0.1", self.server.port)

    def token(self, **chosen: Any) -> JoinToken:
        """A join token as an operator makes it."""
        now_s = self.desk.clock.now_ns() / 1e9
        token, secret = self.tokens.create(now_s, **{"project": "default"} | chosen)
        pin = certificates.fingerprint(self.ca.certificate)
        return JoinToken(self.address, pin, token.id, secret, token.rack, token.uns)

    def rack(self, name: str = RACK, project: str = "default") -> Rack:
        rack = self.registry.find(project, name)
        assert rack is not None
        return rack


@asynccontextmanager
async def opened(folder: Path, **chosen: Any) -> AsyncIterator[Office]:
    office = Office(folder, **chosen)
    async with office.server:
        yield office


class Edge:
    """A Rack's machine: its state folder, and how it asks."""

    def __init__(self, state: Path) -> None:
        self.folder = IdentityFolder(state)

    def joining(self, token: JoinToken, rack: str = RACK, uns: str = UNS, **chosen: Any) -> Joining:
        return Joining(self.folder, token, rack=rack, uns=uns, **chosen)

    async def join(self, token: JoinToken, **chosen: Any) -> Identity:
        async with asyncio.timeout(10):
            return await self.joining(token, **chosen).wait(lambda _: None)
