"""Decides what to answer a Rack that asks to be let in, or for its next certificate."""

from __future__ import annotations

import binascii
import logging
from dataclasses import dataclass, field

from pydantic import ValidationError

from fluxrig.clock import Clock, SystemClock
from fluxrig.errors import IdentityError
from fluxrig.identity import certificates
from fluxrig.identity.enrol import Answer, Request, explained
from fluxrig.identity.keys import PublicKeys
from fluxrig.identity.nkey import Kind, kind_of
from mixer.enrolment.issuer import Issuer
from mixer.enrolment.refusal import Refusal
from mixer.enrolment.registry import Asked, Rack, Registry, State, retired_as
from mixer.enrolment.tokens import Token, Tokens
from mixer.refusals import Refusals

POLL_S = 2.0
"""How often a Rack that waits for approval should ask."""

_log = logging.getLogger("fluxrig.mixer")


@dataclass(frozen=True, slots=True)
class Entrance:
    """What a Rack's leaf dials: a port of the Mixer's, or HOST:PORT of other servers, with their authority.

    `ca` is PEM, "" for those that the Rack's machine trusts.
    """

    port: int = 0
    leaves: tuple[str, ...] = ()
    ca: str = ""


@dataclass(frozen=True, slots=True)
class Desk:
    """`entrance` is where a Rack's leaf dials next."""

    registry: Registry
    tokens: Tokens
    issuer: Issuer
    entrance: Entrance
    clock: Clock = field(default_factory=SystemClock)
    refusals: Refusals = field(default_factory=lambda: Refusals("a certificate"))

    def answer(self, request: Request, address: str) -> Answer:
        """Answer a request whose NATS signature holds. Raises Refusal, IdentityError."""
        keys = _keys(request.nats_key, request.csr)
        rack = self._known(request, keys) or self._newcomer(request, keys, address)
        if rack.asked is not None and rack.asked.keys == keys:
            return Answer(state="pending", project=rack.project, rack=rack.rack, retry_s=POLL_S)
        if not _lies_below(request.uns, rack.uns):
            raise Refusal("uns-fixed", f"Rack {rack.rack} is enrolled for {rack.uns}, not for {request.uns}")
        return self._issue(rack, request.nats_key, request.csr)

    def renew(self, project: str, rack: str, payload: bytes) -> Answer:
        """Answer a Rack that asks over the Snake, so that its name is proven, for its next certificate."""
        try:
            request = Request.model_validate_json(payload)
            keys = _keys(request.nats_key, request.csr)
            return self._issue(self._admitted(project, rack, keys), request.nats_key, request.csr)
        except (Refusal, IdentityError, ValidationError) as error:
            reason = explained(error) if isinstance(error, ValidationError) else str(error)
            self.refusals.log(f"Rack {rack} of {project}", reason)
            return Answer(state="refused", error=reason, code="renewal")

    def is_known(self, request: Request) -> bool:
        """Tell whether the NATS key of a request is that of a Rack that may be here."""
        rack = self.registry.holder(request.nats_key)
        return rack is not None and rack.holds_prefix

    def _admitted(self, project: str, rack: str, keys: PublicKeys) -> Rack:
        known = self.registry.find(project, rack)
        objection = self.registry.objection(project, rack, keys)
        if known is None or objection:
            raise Refusal("renewal", objection)
        return known

    def _known(self, request: Request, keys: PublicKeys) -> Rack | None:
        """Give the Rack that these keys belong to or wait for. Raises Refusal when they are good no more."""
        rack = self.registry.holder(keys.nats)
        if rack is None:
            return None
        if retired := retired_as(rack, keys):
            raise _retired(rack, retired)
        if rack.rack != request.rack:
            raise Refusal(
                "renamed",
                f"these keys belong to Rack {rack.rack}, and a name is for good: enrol {request.rack} as "
                "a new Rack, with a state folder of its own",
            )
        waiting = rack.asked is not None and rack.asked.keys == keys
        if not waiting and rack.keys != keys:
            raise Refusal("keys-mixed", f"one of these keys belongs to Rack {rack.rack}, the other does not")
        if rack.state is State.SUSPENDED and not waiting:
            raise Refusal("suspended", f"Rack {rack.rack} is suspended{_because(rack)}")
        return rack

    def _newcomer(self, request: Request, keys: PublicKeys, address: str) -> Rack:
        """Take the keys of a Rack that shows a join token. Raises Refusal."""
        if request.token is None:
            raise Refusal(
                "not-enrolled",
                f"this Mixer knows no Rack {request.rack} with these keys; ask its operator for a join token",
                stranger=True,
            )
        token = self._token(request.token.id, request.token.secret)
        self._check_grant(token, request, keys)
        asked = Asked(keys, request.uns, address, request.version, token.id, self.clock.now_ns())
        rack = self.registry.ask(token.project, request.rack, asked)
        self.tokens.use(token)
        if token.approve:
            self.registry.approve(rack, f"join token {token.id} of {token.created_by}")
            _log.info("Rack %s for %s is let in by join token %s", rack.rack, rack.uns, token.id)
        else:
            _log.info(
                "Rack %s for %s asks from %s to be let in, with key %s; to let it in: mixer racks approve %s",
                *(rack.rack, asked.uns, address, keys.fingerprint, rack.rack),
            )
        return rack

    def _token(self, id_: str, secret: str) -> Token:
        try:
            raw = binascii.unhexlify(secret)
        except (binascii.Error, ValueError):
            raw = b""
        return self.tokens.check(id_, raw, self.clock.now_ns() / 1e9)

    def _check_grant(self, token: Token, request: Request, keys: PublicKeys) -> None:
        """Hold what is asked for against what the token is for. Raises Refusal."""
        self.issuer.check_open(token.project)
        if token.rack and token.rack != request.rack:
            raise Refusal("token-other-rack", f"the join token is for Rack {token.rack}, not {request.rack}")
        if token.uns and not _lies_below(request.uns, token.uns):
            raise Refusal("token-other-uns", f"the join token is for {token.uns}, not {request.uns}")
        known = self.registry.find(token.project, request.rack)
        if known is None:
            return
        if retired := retired_as(known, keys):
            raise _retired(known, retired)
        if known.state is State.SUSPENDED:
            raise Refusal("suspended", f"Rack {known.rack} is suspended{_because(known)}")
        if token.rack != request.rack and known.state is not State.REJECTED:
            raise Refusal(
                "name-taken",
                f"there is a Rack {known.rack} already ({known.state}); if this is the one, with new keys, "
                f"its join token must name it: mixer join-token create --rack {known.rack}",
            )

    def _issue(self, rack: Rack, nats_key: str, csr: str) -> Answer:
        issued = self.issuer.issue(rack.project, rack.rack, rack.uns, nats_key, csr)
        self.registry.issued(rack, issued.serial, issued.end_s)
        return Answer(
            state="approved",
            project=rack.project,
            rack=rack.rack,
            uns=rack.uns,
            leaf_port=self.entrance.port,
            leaves=self.entrance.leaves,
            leaf_ca=self.entrance.ca,
            certificate=issued.certificate,
            jwt=issued.jwt,
            life_s=self.issuer.life_s,
        )


def _keys(nats_key: str, csr_pem: str) -> PublicKeys:
    """Give what the keys are told by. Raises IdentityError when they are none that a Rack may have."""
    if kind_of(nats_key) is not Kind.USER:
        raise IdentityError("a Rack's NATS key must be a user's")
    csr = certificates.csr_from_pem(csr_pem.encode())
    certificates.check_csr(csr)
    return PublicKeys(nats_key, certificates.key_fingerprint(csr))


def _retired(rack: Rack, why: str) -> Refusal:
    if why == "rejected":
        return Refusal("rejected", f"the operator rejected these keys of Rack {rack.rack}{_because(rack)}")
    return Refusal(
        f"keys-{why}",
        f"the keys of Rack {rack.rack} were {why}; to let it in again it needs a join token made with "
        f"--rack {rack.rack}, and: fluxrig enroll TOKEN --new-keys",
    )


def _lies_below(uns: str, prefix: str) -> bool:
    return f"{uns}/".startswith(f"{prefix}/")


def _because(rack: Rack) -> str:
    return f" ({rack.reason})" if rack.reason else ""
