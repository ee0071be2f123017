"""An operator with one account, whose users may do everything: who trusts whom, without a Mixer."""

from __future__ import annotations

import hashlib
import socket
import ssl
from pathlib import Path

from fluxrig.bus import Credentials, Hub, LeafRemote, Trust
from fluxrig.identity import certificates
from fluxrig.identity.address import Address
from fluxrig.identity.jwt import account_jwt, credentials, operator_jwt, user_jwt
from fluxrig.identity.nkey import KeyPair, Kind


class Operator:
    """Its files are in a folder of the test's."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._operator = KeyPair.create(Kind.OPERATOR)
        self._account = KeyPair.create(Kind.ACCOUNT)
        self._ca = certificates.make_ca("test")
        self._system = KeyPair.create(Kind.ACCOUNT)
        self._claims = operator_jwt(self._operator, "test", self._system.public)
        self.shown = ""
        """The fingerprint of the hub's newest certificate."""
        folder.mkdir()
        self.trust = self.renewed()

    def renewed(self) -> Trust:
        """Issue a new certificate to the hub."""
        system, operator, account = self._system, self._operator, self._account
        certificate, key = certificates.issue_server(self._ca, ["127.0.0.1"], 3600)
        self.shown = certificates.fingerprint(certificate)
        paths = [self._folder / name for name in ("ca.pem", "hub.pem", "hub.key")]
        pems = (certificates.to_pem(self._ca.certificate), certificates.to_pem(certificate))
        for path, pem in zip(paths, (*pems, certificates.key_to_pem(key)), strict=True):
            path.write_bytes(pem)
        accounts = {
            system.public: account_jwt(system.public, "system", operator, jetstream=False),
            account.public: account_jwt(account.public, "test", operator),
        }
        return Trust(self._claims, system.public, accounts, *paths)

    def user(self) -> Credentials:
        """Give what opens the account to a client."""
        key = KeyPair.create(Kind.USER)
        return Credentials(user_jwt(key.public, "test", self._account), key)

    def remote(self, hub: Hub, rack: str = "press", ca: certificates.Authority | None = None) -> LeafRemote:
        """Give what a leaf needs to dial the hub, once it has started; `ca` issues its certificate."""
        key, user = certificates.make_key(), self.user()
        csr = certificates.make_csr(key, "test", rack)
        certificate = certificates.issue_rack(ca or self._ca, csr, "test", rack, 3600)
        paths = [self._folder / f"{rack}-{name}" for name in ("tls.pem", "tls.key", "user.creds")]
        shown = credentials(user.jwt, user.user).encode()
        pems = (certificates.to_pem(certificate), certificates.key_to_pem(key), shown)
        for path, pem in zip(paths, pems, strict=True):
            path.write_bytes(pem)
        return LeafRemote((Address(*hub.leaf_address),), self._folder / "ca.pem", *paths)

    def served(self, hub: Hub) -> str:
        """Ask a hub for its certificate as a leaf would; give the fingerprint."""
        remote = self.remote(hub, "probe")
        context = ssl.create_default_context(cafile=remote.ca)
        context.load_cert_chain(remote.certificate, remote.key)
        with socket.create_connection(hub.leaf_address) as plain:
            assert plain.recv(4096).startswith(b"INFO")
            with context.wrap_socket(plain, server_hostname="127.0.0.1") as secure:
                return hashlib.sha256(secure.getpeercert(binary_form=True) or b"").hexdigest()
