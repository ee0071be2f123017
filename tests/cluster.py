"""A NATS cluster of three on loopback, as a large site runs its own: operator mode, JetStream, TLS leaves."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from fluxrig.bus import Bus, Credentials, binary
from fluxrig.identity import certificates
from fluxrig.identity.jwt import account_jwt, credentials, operator_jwt, parse_credentials, user_jwt
from fluxrig.identity.nkey import KeyPair, Kind
from tests.processes import free_port

NODES: Final = 3
HOST: Final = "127.0.0.1"


@dataclass(frozen=True, slots=True)
class Ports:
    client: int
    routes: int
    leaf: int

    @classmethod
    def free(cls) -> Ports:
        return cls(free_port(), free_port(), free_port())


class Cluster:
    """The nodes, each of which can be killed and started again."""

    def __init__(
        self,
        folder: Path,
        trusted_by_leaf_port: Path,
        nodes: int = NODES,
        *,
        jetstream: bool = True,
        tls: bool = False,
    ) -> None:
        self.folder = folder
        self._tls = tls
        self._jetstream = jetstream
        self.account = KeyPair.create(Kind.ACCOUNT)
        self.ports = [Ports.free() for _ in range(nodes)]
        self.ca = certificates.make_ca("the site's own authority")
        self._signing = KeyPair.create(Kind.ACCOUNT)
        self._operator, self._system = KeyPair.create(Kind.OPERATOR), KeyPair.create(Kind.ACCOUNT)
        self._trusted = trusted_by_leaf_port
        self._nodes: dict[int, subprocess.Popen[bytes]] = {}
        folder.mkdir()
        self._write("ca.pem", certificates.to_pem(self.ca.certificate))
        certificate, key = certificates.issue_server(self.ca, [HOST], 86_400)
        self._write("leaf.pem", certificates.to_pem(certificate))
        self._write("leaf.key", certificates.key_to_pem(key))
        user = KeyPair.create(Kind.USER)
        self._write("mixer.creds", credentials(user_jwt(user.public, "mixer", self.account), user).encode())
        self._write("signing.nk", self._signing.seed)
        stranger = KeyPair.create(Kind.ACCOUNT)
        self._write("stranger.nk", stranger.seed)
        refused = credentials(user_jwt(user.public, "stranger", stranger), user)
        self._write("stranger.creds", refused.encode())

    @property
    def urls(self) -> str:
        scheme = "tls" if self._tls else "nats"
        return ",".join(f"{scheme}://{HOST}:{ports.client}" for ports in self.ports)

    @property
    def leaf_addresses(self) -> list[str]:
        return [f"{HOST}:{ports.leaf}" for ports in self.ports]

    def options(self) -> list[str]:
        """Give the options by which a Mixer uses it."""
        files = {"creds": "mixer.creds", "account-key": "signing.nk", "leaf-ca": "ca.pem"}
        options = ["--nats", self.urls]
        for name, file in files.items():
            options += [f"--{name}", str(self.folder / file)]
        if self._tls:
            options += ["--nats-ca", str(self.folder / "ca.pem")]
        for address in self.leaf_addresses:
            options += ["--leaf", address]
        return options

    async def connect(self) -> Bus:
        """Come in as the Mixer does."""
        ca = self.folder / "ca.pem" if self._tls else None
        token, user = parse_credentials((self.folder / "mixer.creds").read_text())
        return await Bus.connect(self.urls, Credentials(token, user), "test", ca=ca)

    def start(self, node: int) -> None:
        config = self.folder / f"node-{node}.conf"
        config.write_text(json.dumps(self._config(node)), "utf-8")
        with (self.folder / f"node-{node}.err").open("ab") as stderr:
            self._nodes[node] = subprocess.Popen([binary.find(), "-c", config], stderr=stderr)

    def kill(self, node: int) -> None:
        """Kill a node with -9."""
        process = self._nodes.pop(node)
        process.send_signal(signal.SIGKILL)
        process.wait()

    def _config(self, node: int) -> dict[str, Any]:
        own = self.ports[node]
        accounts = {
            self.account.public: account_jwt(
                self.account.public, "plant", self._operator, signing_keys=[self._signing.public]
            ),
            self._system.public: account_jwt(self._system.public, "system", self._operator, jetstream=False),
        }
        config = {
            "server_name": f"node-{node}",
            "host": HOST,
            "port": own.client,
            "feature_flags": {"js_api_reply_v2": True},
            "operator": operator_jwt(self._operator, "site", self._system.public),
            "system_account": self._system.public,
            "resolver": "MEMORY",
            "resolver_preload": accounts,
            "log_file": str(self.folder / f"node-{node}.log"),
            "jetstream": {"store_dir": str(self.folder / f"node-{node}"), "domain": "site"},
            "cluster": {
                "name": "site",
                "host": HOST,
                "port": own.routes,
                "routes": [f"nats-route://{HOST}:{ports.routes}" for ports in self.ports],
            },
            "leafnodes": {
                "host": HOST,
                "port": own.leaf,
                "tls": {
                    "cert_file": str(self.folder / "leaf.pem"),
                    "key_file": str(self.folder / "leaf.key"),
                    "ca_file": str(self._trusted),
                    "verify": True,
                    "min_version": "1.3",
                },
            },
        }
        if self._tls:
            config["tls"] = {name: config["leafnodes"]["tls"][name] for name in ("cert_file", "key_file")}
        if not self._jetstream:
            del config["jetstream"]
        if len(self.ports) == 1:
            del config["cluster"]
        return config

    def _write(self, name: str, data: bytes) -> None:
        descriptor = os.open(self.folder / name, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)


@contextmanager
def cluster(folder: Path, trusted_by_leaf_port: Path, nodes: int = NODES, **how: bool) -> Iterator[Cluster]:
    """Run one for the length of a `with`. Leaf ports take certificates of `trusted_by_leaf_port` (PEM)."""
    one = Cluster(folder, trusted_by_leaf_port, nodes, **how)
    try:
        for node in range(nodes):
            one.start(node)
        yield one
    finally:
        for node in list(one._nodes):
            one.kill(node)
