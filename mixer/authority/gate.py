"""The door of a project: answers the hub's question at each login."""

from __future__ import annotations

import logging
import time
from collections import OrderedDict
from typing import Final

from fluxrig.bus import Bus
from fluxrig.errors import IdentityError
from fluxrig.identity.jwt import encode
from fluxrig.identity.nkey import KeyPair
from mixer.authority.admission import Login, Unwelcome, admit
from mixer.authority.rights import claims
from mixer.enrolment.registry import Registry
from mixer.refusals import Refusals

_QUESTION: Final = "$SYS.REQ.USER.AUTH"
_REMEMBERED: Final = 4096

_log = logging.getLogger("fluxrig.mixer")


class Visitors:
    """Who is behind the hub's connections, by their number there: the newest _REMEMBERED of them."""

    def __init__(self) -> None:
        self._names: OrderedDict[int, str] = OrderedDict()
        self._refused: OrderedDict[int, None] = OrderedDict()

    def note(self, connection: int, who: str, *, refused: bool = False) -> None:
        self._names[connection] = who
        if refused:
            self._refused[connection] = None
        for table in (self._names, self._refused):
            if len(table) > _REMEMBERED:
                table.popitem(last=False)

    def who(self, connection: int) -> str:
        """Give a name, or "" for a connection that never got as far as to say one."""
        return self._names.get(connection, "")

    def was_refused(self, connection: int) -> bool:
        """Tell whether the Mixer itself turned it away, and said so."""
        return connection in self._refused


class Gate:
    """Lets Racks into one project. What it refuses is logged once, with who and why."""

    def __init__(
        self, project: str, account: KeyPair, registry: Registry, refusals: Refusals, visitors: Visitors
    ) -> None:
        self.project = project
        self._account = account
        self._registry = registry
        self._refusals = refusals
        self._visitors = visitors

    async def serve(self, bus: Bus) -> None:
        """Answer on `bus`, which is the Mixer's own in the project's account."""
        await bus.serve(_QUESTION, self._answer)

    async def _answer(self, _: str, payload: bytes) -> bytes:
        """Give a signed answer (jwt/v2, AuthorizationResponse): the Rack's rights, or why not."""
        try:
            login = Login.parse(payload)
        except IdentityError as error:
            self._refusals.log("an unknown server", str(error))
            return b""
        try:
            decision = {"jwt": self._admit(login)}
        except Unwelcome as refusal:
            self._visitors.note(login.connection, refusal.who, refused=True)
            self._refusals.log(refusal.who, str(refusal))
            decision = {"error": "refused by the Mixer"}
        response = {
            "sub": login.user,
            "aud": login.server,
            "nats": {"type": "authorization_response", "version": 2, **decision},
        }
        return encode(response, self._account).encode()

    def _admit(self, login: Login) -> str:
        admitted = admit(login, self.project, self._account.public, self._registry.objection, time.time())
        known = self._registry.find(self.project, admitted.rack)
        if known is None:  # cannot be: there was no objection
            raise Unwelcome(login.host, "no Rack of this name is enrolled")
        self._visitors.note(login.connection, f"Rack {admitted.rack} ({login.host})")
        _log.info("Rack %s of %s has come in from %s", admitted.rack, self.project, login.host)
        return claims(login.user, admitted.rack, known.uns, self._account, expires_s=admitted.end_s)
