"""Racks that are enrolled, without a network: in the Mixer's own files, before it starts and reads them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from cryptography import x509

from fluxrig.bus import LeafRemote
from fluxrig.identity import certificates
from fluxrig.identity.address import Address
from fluxrig.identity.jwt import credentials, user_jwt
from fluxrig.identity.keys import Keys
from fluxrig.identity.names import DEFAULT_PROJECT
from mixer.authority.identity import RACKS, Authority
from mixer.enrolment.registry import Asked, Registry, State
from mixer.folder import Folder


@dataclass(frozen=True)
class Box:
    """Where a Rack keeps its keys, and what it was told of the Mixer."""

    folder: Path
    rack: str
    uns: str
    project: str = DEFAULT_PROJECT

    def remote(self, port: int) -> LeafRemote:
        files = {"ca": "ca.pem", "certificate": "tls.pem", "key": "tls.key", "credentials": "user.creds"}
        return LeafRemote(
            (Address("127.0.0.1", port),), **{name: self.folder / file for name, file in files.items()}
        )

    def keep(self, ca: x509.Certificate, certificate: x509.Certificate, keys: Keys, jwt: str) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        (self.folder / "ca.pem").write_bytes(certificates.to_pem(ca))
        (self.folder / "tls.pem").write_bytes(certificates.to_pem(certificate))
        (self.folder / "tls.key").write_bytes(certificates.key_to_pem(keys.tls))
        (self.folder / "user.creds").write_text(credentials(jwt, keys.nats))


class Office:
    """Enrols Racks."""

    def __init__(self, folder: Folder) -> None:
        self.authority = Authority.open(folder.identity)
        self.registry = Registry(folder.identity / RACKS)

    def enrol(self, box: Box, *, life_s: int = 3600, state: State = State.APPROVED) -> Keys:
        keys = Keys.create()
        asked = Asked(keys.public, box.uns, "127.0.0.1", "1", "test", 0)
        rack = self.registry.ask(box.project, box.rack, asked)
        self.registry.approve(rack, "test")
        if state is State.REVOKED:
            self.registry.revoke(rack, "test")
        self.issue(box, keys, life_s=life_s)
        return keys

    def issue(
        self, box: Box, keys: Keys, *, life_s: int = 3600, ca: certificates.Authority | None = None
    ) -> None:
        """Give a box certificate and claims for its keys."""
        csr = certificates.make_csr(keys.tls, box.project, box.rack)
        certificate = certificates.issue_rack(ca or self.authority.ca, csr, box.project, box.rack, life_s)
        account = self.authority.projects[box.project]
        jwt = user_jwt(keys.nats.public, box.rack, account, connections=["LEAFNODE"])
        box.keep(self.authority.ca.certificate, certificate, keys, jwt)
