"""A NATS server or cluster of the site's own, in place of a hub that the Mixer runs by itself.

The project `default` is an account there. Its servers know nothing of the Mixer's registry: what a Rack may
do is in the claims that the Mixer signs with a key of the account, and holds until they end. Commands reach
the Mixer through a small server on loopback.
"""

from __future__ import annotations

import asyncio
import logging
import ssl
import stat
import time
from collections.abc import Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Self
from urllib.parse import urlsplit

from fluxrig.bus import LEAF_PORT, Bus, ControlServer, Credentials, ensure_hub_streams
from fluxrig.errors import BusError, BusRefused, BusUnavailable, FluxrigError, IdentityError
from fluxrig.identity.address import Address
from fluxrig.identity.enrol import MAX_LEAVES
from fluxrig.identity.jwt import decode, parse_credentials
from fluxrig.identity.names import DEFAULT_PROJECT
from fluxrig.identity.nkey import KeyPair, Kind, kind_of
from mixer.authority.identity import Authority
from mixer.authority.projects import Accounts, reader
from mixer.enrolment.desk import Entrance
from mixer.enrolment.issuer import Issuer
from mixer.enrolment.registry import Rack, Registry, State
from mixer.folder import Access, Folder
from mixer.project import Project

MAX_REPLICAS: Final = 5
CONNECT_S: Final = 10.0
READY_S: Final = 30.0
"""How long a cluster that has just started may take to have JetStream ready."""
_AGAIN_S: Final = 1.0
_PAYLOAD_BYTES: Final = 1 << 20  # nats-server's default, and enough for a Rack's largest parcel
_MAX_FILE_BYTES: Final = 16 << 10
_CLOSED: Final = (
    "this Mixer was started without --account-key, so it can't sign what lets a Rack into the NATS it uses"
)


_log = logging.getLogger("fluxrig.mixer")


@dataclass(frozen=True, slots=True)
class External:
    """What a Mixer needs to know of the NATS that is there. `urls` are comma-separated."""

    urls: str
    credentials: Credentials
    account: str
    """Its public key."""
    account_key: KeyPair | None
    """It, or one of its signing keys, which signs the claims of Racks."""
    ca: Path | None
    """The authority of its servers, where they speak TLS to clients; None for those the machine trusts."""
    entrance: Entrance
    replicas: int

    @classmethod
    def load(
        cls,
        urls: str,
        credentials: Path,
        *,
        account_key: Path | None = None,
        ca: Path | None = None,
        leaves: Sequence[str] = (),
        leaf_ca: Path | None = None,
        replicas: int = 1,
    ) -> Self:
        """Read the files, and check what can be checked without a connection. Raises FluxrigError.

        Without `leaves` they are the hosts of the URLs, at nats-server's usual port. Without `leaf_ca` leaf
        ports show certificates of `ca`, or of an authority that the Racks' machines trust.
        """
        hosts = [_host(url) for url in urls.split(",")]
        token, user = _credentials(credentials)
        claims = decode(token)
        if not claims.valid_at(time.time()):
            raise FluxrigError(
                f"the credentials in {credentials} have expired; get new ones from its operator"
            )
        account = str(claims.nats.get("issuer_account") or claims.issuer)
        addresses = tuple(_address(leaf) for leaf in leaves) or tuple(
            str(Address(host, LEAF_PORT)) for host in dict.fromkeys(hosts)
        )
        if len(addresses) > MAX_LEAVES:
            raise FluxrigError(f"--leaf: {len(addresses)} addresses, {MAX_LEAVES} are allowed")
        _authority(ca)
        return cls(
            urls,
            Credentials(token, user),
            account,
            _account_key(account_key, account) if account_key else None,
            ca.absolute() if ca else None,
            Entrance(leaves=addresses, ca=_authority(leaf_ca or ca)),
            replicas,
        )


class ExternalHub:
    """In use while it is entered."""

    def __init__(
        self,
        folder: Folder,
        authority: Authority,
        registry: Registry,
        external: External,
        client_port: int = 0,
    ) -> None:
        self._authority, self._registry = authority, registry
        self._external = external
        self._accounts = Accounts(authority, folder.path / "control" / "tls", ())
        self._server = ControlServer(folder.path / "control", self._accounts.trust(), client_port=client_port)
        self._operators = KeyPair.create(Kind.USER)
        self._stack = AsyncExitStack()
        self._bus: Bus | None = None
        self._out: set[str] = set()
        self._news = asyncio.Event()

    async def __aenter__(self) -> Self:
        async with AsyncExitStack() as stack:
            await stack.enter_async_context(self._server)
            auth = self._accounts.control()
            self.control = await stack.enter_async_context(await self._server.connect("mixer", auth))
            self._stack = stack.pop_all()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._stack.aclose()

    @property
    def entrance(self) -> Entrance:
        """What leaves dial."""
        return self._external.entrance

    @property
    def projects(self) -> list[str]:
        """The one project that there is."""
        return [DEFAULT_PROJECT]

    @property
    def access(self) -> Access:
        """How commands reach the Mixer."""
        return Access(self._server.url, self._accounts.control())

    def readers(self) -> dict[str, Access]:
        """Give how commands read the streams: as the Mixer does where there is no key for less."""
        external = self._external
        key = external.account_key
        auth = reader(self._operators, key, external.account) if key else external.credentials
        return {DEFAULT_PROJECT: Access(external.urls, auth, external.ca)}

    def issuer(self, life_s: float) -> Issuer:
        """Give what signs certificates and claims of Racks."""
        external = self._external
        closed = "" if external.account_key else _CLOSED
        return Issuer(self._authority.ca, self._key_of, life_s, signed_for=external.account, closed=closed)

    def _key_of(self, project: str) -> KeyPair | None:
        return self._external.account_key if project == DEFAULT_PROJECT else None

    async def connect(self, project: str) -> Bus:
        """Give the Mixer's connection, with the streams made. Raises FluxrigError that says what is wrong."""
        external = self._external
        bus = await Bus.connect(
            external.urls, external.credentials, f"mixer {project}", CONNECT_S, ca=external.ca
        )
        try:
            await self._check(bus)
            await self._make_streams(bus)
        except BaseException:
            await bus.close()
            raise
        self._bus = bus
        _log.info("using NATS at %s, streams with %d replicas", external.urls, external.replicas)
        if external.account_key is None:
            _log.warning("no Rack can be let in, and no certificate renewed: %s", _CLOSED)
        return bus

    async def _check(self, bus: Bus) -> None:
        """Raise FluxrigError unless JetStream is on, Racks' messages fit, and the account's key is one."""
        await self._jetstream(bus)
        if bus.nats.max_payload < _PAYLOAD_BYTES:
            raise FluxrigError(
                f"the NATS at {self._external.urls} takes messages of {bus.nats.max_payload} bytes, and "
                f"Racks send up to {_PAYLOAD_BYTES}: raise its max_payload"
            )
        if self._external.account_key is not None:
            await self._try_account_key()

    async def _jetstream(self, bus: Bus) -> None:
        loop = asyncio.get_running_loop()
        deadline = loop.time() + READY_S
        while True:
            try:
                await bus.api("INFO")
            except BusUnavailable as error:
                if "nobody answers" in str(error) or loop.time() > deadline:
                    raise self._without_jetstream("no answer; is it on, and is a majority up?") from None
                await asyncio.sleep(_AGAIN_S)
            except BusError as error:
                raise self._without_jetstream(str(error)) from None
            else:
                return

    def _without_jetstream(self, why: str) -> FluxrigError:
        return FluxrigError(f"the NATS at {self._external.urls} has no JetStream for this account: {why}")

    async def _try_account_key(self) -> None:
        """Come in with claims that the key has signed."""
        access = self.readers()[DEFAULT_PROJECT]
        try:
            probe = await Bus.connect(access.url, access.auth, "mixer key", CONNECT_S, ca=access.ca)
        except BusRefused:
            raise FluxrigError(
                "--account-key is refused: it is neither the key of the account of --creds "
                f"({self._external.account}) nor one of its signing keys"
            ) from None
        await probe.close()

    async def _make_streams(self, bus: Bus) -> None:
        replicas = self._external.replicas
        try:
            await ensure_hub_streams(bus, replicas)
        except BusError as error:
            raise FluxrigError(
                f"the NATS at {self._external.urls} makes no streams with --replicas {replicas}: {error}"
            ) from None

    async def add_project(self, name: str) -> None:
        """Refuse: an account can't be made on servers of others."""
        raise FluxrigError(
            f"project {name} can't be made: with --nats there is one project, {DEFAULT_PROJECT}, which is "
            "the account of --creds; start another Mixer for another account"
        )

    async def run(self, projects: Mapping[str, Project]) -> None:
        """Take nothing more from Racks that are out, until cancelled."""
        project = projects[DEFAULT_PROJECT]
        self._registry.watch(self._note)
        for rack in self._registry.of(DEFAULT_PROJECT):
            self._note(rack)
        while True:
            await self._news.wait()
            self._news.clear()
            for name in sorted(self._out):
                await self._put_out(project, name)
            if self._out:
                await asyncio.sleep(_AGAIN_S)
                self._news.set()

    async def _put_out(self, project: Project, name: str) -> None:
        rack = self._registry.find(DEFAULT_PROJECT, name)
        try:
            if rack is not None and rack.state is not State.APPROVED:
                await project.stop_taking(name)
                _log.info("nothing more is taken from Rack %s: it is %s", name, rack.state)
        except BusError as error:
            _log.warning("Rack %s is %s, but the hub can't be told: %s", name, rack and rack.state, error)
        else:
            self._out.discard(name)

    def _note(self, rack: Rack) -> None:
        if rack.project == DEFAULT_PROJECT and rack.state in {State.SUSPENDED, State.REVOKED}:
            self._out.add(rack.rack)
            self._news.set()

    @property
    def listening(self) -> str:
        """HOST:PORT of each server that leaves dial."""
        return ", ".join(self._external.entrance.leaves)

    def told(self) -> dict[str, Any]:
        """Give what a status says of it."""
        connected = self._bus is not None and self._bus.connected
        return {"nats": self._external.urls, "replicas": self._external.replicas, "connected": connected}


def _host(url: str) -> str:
    """Give the host that a URL names. Raises FluxrigError."""
    try:
        parts = urlsplit(url.strip())
        host, _ = parts.hostname, parts.port
    except ValueError:
        parts, host = urlsplit(""), None
    if parts.scheme not in {"nats", "tls"} or not host or parts.path.strip("/") or url != url.strip():
        raise FluxrigError(f"--nats: {url[:200]!r} is not a URL such as nats://host:4222 or tls://host:4222")
    if parts.username is not None:
        raise FluxrigError("--nats: a URL holds no user and password; give a credentials file by --creds")
    return host


def _address(text: str) -> str:
    try:
        return str(Address.parse(text, LEAF_PORT))
    except ValueError as error:
        raise FluxrigError(f"--leaf: {error}") from None


def _credentials(path: Path) -> tuple[str, KeyPair]:
    try:
        return parse_credentials(_secret("--creds", path))
    except IdentityError as error:
        raise FluxrigError(f"--creds: {path} is no credentials file of a NATS user: {error}") from None


def _account_key(path: Path, account: str) -> KeyPair:
    try:
        key = KeyPair.from_seed(_secret("--account-key", path).encode())
    except IdentityError as error:
        raise FluxrigError(f"--account-key: {path} holds no seed of an account: {error}") from None
    if key.kind is not Kind.ACCOUNT or kind_of(account) is not Kind.ACCOUNT:
        raise FluxrigError(f"--account-key: {path} holds the seed of another kind of key than an account's")
    return key


def _secret(option: str, path: Path) -> str:
    """Read a file that nobody but its owner may read. Raises FluxrigError."""
    try:
        if path.stat().st_mode & (stat.S_IRWXG | stat.S_IRWXO):
            raise FluxrigError(f"{option}: {path} is open to others than its owner; run chmod 600 on it")
        with path.open("rb") as file:
            return file.read(_MAX_FILE_BYTES).decode("ascii", "replace")
    except OSError as error:
        raise FluxrigError(f"{option}: {path}: {(error.strerror or 'not readable').lower()}") from None


def _authority(path: Path | None) -> str:
    """Read certificates (PEM), "" for no file. Raises FluxrigError."""
    if path is None:
        return ""
    try:
        with path.open("rb") as file:
            text = file.read(_MAX_FILE_BYTES + 1).decode("ascii", "replace")
        if len(text) > _MAX_FILE_BYTES:
            raise FluxrigError(f"{path}: more than {_MAX_FILE_BYTES} bytes; give the one authority alone")
        ssl.create_default_context(cadata=text)
    except OSError as error:  # an SSLError is one
        why = "holds no certificates" if isinstance(error, ssl.SSLError) else error.strerror
        raise FluxrigError(f"{path}: {str(why).lower()}") from None
    return text
