"""What an approved Rack gets: a certificate by the Mixer's authority, a JWT by its project's account."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from fluxrig.identity import certificates
from fluxrig.identity.nkey import KeyPair
from mixer.authority.rights import claims
from mixer.enrolment.refusal import Refusal

CERTIFICATE_LIFE_S: Final = 86_400.0


@dataclass(frozen=True, slots=True)
class Issued:
    """PEM and JWT, both good until `end_s` (seconds since the Unix epoch)."""

    certificate: str
    jwt: str
    serial: str
    end_s: float


@dataclass(frozen=True, slots=True)
class Issuer:
    """`account` gives the key of a project's NATS account, or None when there is no such project.

    `signed_for` is the account's public key where that is a signing key; `closed` says why nothing can be
    issued, or "".
    """

    ca: certificates.Authority
    account: Callable[[str], KeyPair | None]
    life_s: float = CERTIFICATE_LIFE_S
    signed_for: str = ""
    closed: str = ""

    def check_open(self, project: str) -> KeyPair:
        """Give the key that signs for a project. Raises Refusal when nobody can be let in there."""
        if self.closed:
            raise Refusal("closed", self.closed)
        account = self.account(project)
        if account is None:
            raise Refusal("no-project", f"there is no project {project} any more")
        return account

    def issue(self, project: str, rack: str, uns: str, nats_key: str, csr_pem: str) -> Issued:
        """Issue to the keys that were shown. Raises IdentityError for a request that proves no key."""
        account = self.check_open(project)
        csr = certificates.csr_from_pem(csr_pem.encode())
        certificate = certificates.issue_rack(self.ca, csr, project, rack, int(self.life_s))
        end_s = certificate.not_valid_after_utc.timestamp()
        token = claims(nats_key, rack, uns, account, expires_s=int(end_s), signed_for=self.signed_for)
        pem = certificates.to_pem(certificate).decode("ascii")
        return Issued(pem, token, certificates.serial(certificate), end_s)
