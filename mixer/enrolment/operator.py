"""What operators ask of the running Mixer about Racks and join tokens, and what it answers."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from typing import Annotated, Any, Final, Literal

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from fluxrig.clock import Clock, SystemClock
from fluxrig.errors import FluxrigError
from fluxrig.identity.address import Address
from fluxrig.identity.enrol import explained
from fluxrig.identity.join import JoinToken
from fluxrig.identity.names import DEFAULT_PROJECT, rack_fault
from fluxrig.uns import path_fault
from mixer.enrolment.registry import Rack, Registry
from mixer.enrolment.tokens import Token, Tokens

SUBJECT: Final = "fluxrig.mixer.racks"
MAX_USES: Final = 10_000

_log = logging.getLogger("fluxrig.mixer")


class _Order(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    by: str = Field(default="", max_length=64)
    """Who asks, for the records."""


class RackOrder(_Order):
    """`rack` is "" for all of a project; `project` is "" for all projects."""

    verb: Literal["list", "show", "approve", "reject", "suspend", "resume", "revoke"]
    project: str = DEFAULT_PROJECT
    rack: str = ""
    reason: str = Field(default="", max_length=200)
    key: str = ""
    """The fingerprint that the Rack showed, to be held against the one that waits."""


class TokenOrder(_Order):
    verb: Literal["token-create", "token-list", "token-revoke"]
    id: str = ""
    project: str = DEFAULT_PROJECT
    rack: str = ""
    uns: str = ""
    uses: int = Field(default=1, ge=1, le=MAX_USES)
    life_s: float = Field(default=3600.0, gt=0, le=366 * 86_400)
    approve: bool = False
    address: str = ""
    """Where Racks reach the enrolment port; the Mixer's own idea of that if empty."""


Order = RackOrder | TokenOrder
_ORDER: Final[TypeAdapter[Order]] = TypeAdapter(Annotated[Order, Field(discriminator="verb")])


@dataclass(slots=True)
class Operator:
    """Does what operators order. `address` is where Racks reach the enrolment port, `ca` its fingerprint."""

    registry: Registry
    tokens: Tokens
    projects: Callable[[str], object]
    """Gives None for a project that there is not."""
    address: Address
    ca: str
    health: Callable[[Rack], dict[str, Any]] = field(default=lambda _: {})
    clock: Clock = field(default_factory=SystemClock)

    async def answer(self, _: str, payload: bytes) -> bytes:
        """Do what is ordered; the reply is `{done}` or `{error}`."""
        try:
            order = _ORDER.validate_json(payload)
            done = self._racks(order) if isinstance(order, RackOrder) else self._tokens(order)
        except ValidationError as error:
            return json.dumps({"error": explained(error)}).encode()
        except (FluxrigError, OSError, ValueError) as error:
            return json.dumps({"error": str(error)}).encode()
        return json.dumps({"done": done}).encode()

    def _racks(self, order: RackOrder) -> Any:
        if order.verb == "list":
            racks = self.registry.of(order.project) if order.project else self.registry.all()
            return [self._shown(rack) for rack in sorted(racks, key=lambda rack: (rack.project, rack.rack))]
        rack = self.registry.find(order.project, order.rack)
        if rack is None:
            where = "" if order.project == DEFAULT_PROJECT else f" in project {order.project}"
            raise FluxrigError(f"there is no Rack {order.rack}{where}; see mixer racks list")
        if order.verb != "show":
            self._decide(order, rack)
        return self._shown(rack)

    def _decide(self, order: RackOrder, rack: Rack) -> None:
        match order.verb:
            case "approve":
                _compare(order.key, rack)
                self.registry.approve(rack, order.by)
            case "reject":
                self.registry.reject(rack, order.by, order.reason)
            case "suspend":
                self.registry.suspend(rack, order.by, order.reason)
            case "resume":
                self.registry.resume(rack, order.by)
            case "revoke":
                self.registry.revoke(rack, order.by, order.reason)
        reason = f" ({order.reason})" if order.reason else ""
        _log.info("%s by %s: Rack %s is %s%s", order.verb, order.by or "?", rack.rack, rack.state, reason)

    def _shown(self, rack: Rack) -> dict[str, Any]:
        shown = asdict(rack) | {"health": self.health(rack)}
        for name, keys in (("key", rack.keys), ("asked_key", rack.asked and rack.asked.keys)):
            shown[name] = keys.fingerprint if keys else ""
        return shown

    def _tokens(self, order: TokenOrder) -> Any:
        now_s = self.clock.now_ns() / 1e9
        if order.verb == "token-list":
            return [_shown(token, now_s) for token in self.tokens.list(now_s)]
        if order.verb == "token-revoke":
            token = self.tokens.revoke(order.id)
            _log.info("join token %s is revoked by %s", token.id, order.by or "?")
            return _shown(token, now_s)
        return self._create(order, now_s)

    def _create(self, order: TokenOrder, now_s: float) -> dict[str, Any]:
        if self.projects(order.project) is None:
            raise FluxrigError(f"there is no project {order.project}; make it: mixer project create NAME")
        for fault in (order.rack and rack_fault(order.rack), order.uns and path_fault(order.uns)):
            if fault:
                raise FluxrigError(fault)
        address = Address.parse(order.address, self.address.port) if order.address else self.address
        token, secret = self.tokens.create(
            now_s,
            project=order.project,
            rack=order.rack,
            uns=order.uns,
            uses=order.uses,
            life_s=order.life_s,
            approve=order.approve,
            by=order.by,
        )
        _log.info("join token %s is made by %s", token.id, order.by or "?")
        text = JoinToken(address, self.ca, token.id, secret, token.rack, token.uns).encode()
        return {"token": text, "mixer": str(address), "ca": self.ca, **_shown(token, now_s)}


def _compare(key: str, rack: Rack) -> None:
    """Raise FluxrigError unless the key that an operator was told is the one that waits."""
    asked = rack.asked.keys.fingerprint if rack.asked else ""
    if key and key.replace("-", "").lower() != asked.replace("-", ""):
        raise FluxrigError(
            f"Rack {rack.rack} waits with key {asked or 'none'}, not {key}: it may not be the one you mean; "
            f"if so: mixer racks reject {rack.rack}"
        )


def _shown(token: Token, now_s: float) -> dict[str, Any]:
    shown = asdict(token) | {"state": token.ended(now_s) or "good"}
    del shown["digest"]
    return shown
