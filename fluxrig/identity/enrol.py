"""The talk by which a Rack gets its certificate: what both ends say, and the Rack's end of it.

Over TLS 1.3, one JSON line each: the Mixer's `Hello`, the Rack's `Signed` request, the Mixer's `Answer`. The
Rack knows the Mixer by the fingerprint of its authority: it first asks for the authority's certificate and
trusts nobody, holds it against the fingerprint, and then connects again and trusts that authority alone.
Nothing of the Rack's, the join token least of all, is sent before that.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import ssl
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from hashlib import sha256
from typing import Annotated, Final, Literal, TypeVar

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError

from fluxrig.errors import IdentityError
from fluxrig.identity import certificates
from fluxrig.identity.address import Address
from fluxrig.identity.keys import Keys
from fluxrig.identity.names import rack_fault
from fluxrig.identity.nkey import verify
from fluxrig.uns import path_fault

PORT: Final = 7423
MAX_LINE_BYTES: Final = 64 << 10
TIMEOUT_S: Final = 10.0
NONCE_BYTES: Final = 32
MAX_LEAVES: Final = 32
_CONTEXT: Final = b"fluxrig-enrol-1\n"
_NOT_YET_VALID, _EXPIRED = 9, 10  # X509_V_ERR_CERT_NOT_YET_VALID, X509_V_ERR_CERT_HAS_EXPIRED

Short = Annotated[str, Field(max_length=128)]
M = TypeVar("M", bound=BaseModel)
Pem = Annotated[str, Field(max_length=16 << 10)]


class Unreachable(IdentityError):
    """No answer now: ask again later."""


class Untrusted(IdentityError):
    """Whoever answers is not the Mixer that is meant, or can't be told from another."""


def _checked(fault: str | None) -> None:
    if fault:
        raise ValueError(fault)


def _rack(name: str) -> str:
    _checked(rack_fault(name))
    return name


def _uns(path: str) -> str:
    _checked(path_fault(path))
    return path


def _address(text: str) -> str:
    return str(Address.parse(text))


class _Message(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")  # a newer peer may say more


class Hello(_Message):
    """What the Mixer says first."""

    fluxrig: Literal["enrol/1"] = "enrol/1"
    ca: Pem
    nonce: Short
    time_ns: int


class TokenProof(_Message):
    """What a Rack shows of its join token."""

    id: Short
    secret: Short = Field(repr=False)


class Request(_Message):
    """What a Rack asks for. Without a token it must be known by its keys."""

    rack: Annotated[str, AfterValidator(_rack)]
    uns: Annotated[str, AfterValidator(_uns)]
    nats_key: Short
    csr: Pem
    version: Annotated[str, Field(pattern=r"^[\w.+-]{0,64}$")] = ""
    token: TokenProof | None = None


class Signed(_Message):
    """A request and the proof that its sender has the NATS key, by its signature over it and the nonce."""

    request: str
    signature: Short


class Answer(_Message):
    """What the Mixer decided. `code` names the reason of a refusal for programs."""

    state: Literal["approved", "pending", "refused", "busy"]
    error: str = ""
    code: str = ""
    retry_s: float = Field(default=2.0, ge=0.1, le=600)
    project: str = ""
    rack: str = ""
    uns: str = ""
    certificate: str = ""
    jwt: str = ""
    leaf_port: int = 0
    """Of the Mixer itself, for leaves to dial; 0 where they dial `leaves`."""
    leaves: Annotated[tuple[Annotated[str, AfterValidator(_address)], ...], Field(max_length=MAX_LEAVES)] = ()
    """HOST:PORT of the servers that leaves dial instead."""
    leaf_ca: Pem = ""
    """The authority of those servers' certificates; "" for those that the machine trusts."""
    life_s: float = 0.0


def sign(request: Request, nonce: str, keys: Keys) -> Signed:
    text = request.model_dump_json(exclude_none=True)
    signature = base64.b64encode(keys.nats.sign(_digest(text, nonce))).decode()
    return Signed(request=text, signature=signature)


def opened(signed: Signed, nonce: str) -> Request:
    """Give the request if it is well formed and signed by the NATS key that it names, else IdentityError."""
    try:
        request = Request.model_validate_json(signed.request)
        signature = base64.b64decode(signed.signature, validate=True)
    except ValidationError as error:
        raise IdentityError(explained(error)) from None
    except binascii.Error:
        signature = b""
    if not verify(request.nats_key, _digest(signed.request, nonce), signature):
        raise IdentityError("the request is not signed by the NATS key that it names")
    return request


def explained(error: ValidationError) -> str:
    """Give one line on what is wrong with a message, without its content."""
    first = error.errors(include_input=False)[0]
    where = ".".join(map(str, first["loc"]))
    reason = first["msg"].removeprefix("Value error, ")
    return f"{where}: {reason}" if where else reason


async def authority(address: Address, pin: str) -> bytes:
    """Fetch the certificate of the Mixer's authority (PEM), the one with the fingerprint `pin`."""
    async with _connected(address, _anyone()) as (reader, _):
        hello = await _hello(reader, address)
    found = certificates.certificate_from_pem(hello.ca.encode())
    if certificates.fingerprint(found) != pin:
        raise Untrusted(
            f"the server at {address} is not the Mixer of this token: its authority is "
            f"{certificates.fingerprint(found)}, not {pin}. Nothing was sent to it. Somebody may stand in "
            "between, or the Mixer was set up anew; ask its operator"
        )
    return certificates.to_pem(found)


async def ask(address: Address, ca_pem: bytes, request: Request, keys: Keys) -> Answer:
    """Ask once. Raises Unreachable or Untrusted; a refusal is an answer."""
    async with _connected(address, _only(ca_pem)) as (reader, writer):
        hello = await _hello(reader, address)
        line = sign(request, hello.nonce, keys).model_dump_json().encode() + b"\n"
        writer.write(line)
        await writer.drain()
        return _parsed(Answer, await reader.readline(), address)


@asynccontextmanager
async def _connected(
    address: Address, trust: ssl.SSLContext
) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    try:
        async with asyncio.timeout(TIMEOUT_S):
            reader, writer = await asyncio.open_connection(
                address.host, address.port, ssl=trust, limit=MAX_LINE_BYTES
            )
            try:
                yield reader, writer
            finally:
                writer.transport.abort()
    except ssl.SSLCertVerificationError as error:
        raise Untrusted(_doubt(error, address)) from None
    except (OSError, TimeoutError, ValueError) as error:
        reason = (isinstance(error, OSError) and error.strerror) or "no answer in time"
        raise Unreachable(f"the Mixer at {address} can't be reached: {reason}") from None


async def _hello(reader: asyncio.StreamReader, address: Address) -> Hello:
    return _parsed(Hello, await reader.readline(), address)


def _parsed(model: type[M], line: bytes, address: Address) -> M:
    if not line.endswith(b"\n"):
        raise Unreachable(f"the Mixer at {address} ended the talk; it may have too much to do")
    try:
        return model.model_validate_json(line)
    except ValidationError:
        raise Untrusted(f"what answers at {address} is no Mixer of this version; check the address") from None


def _doubt(error: ssl.SSLCertVerificationError, address: Address) -> str:
    if error.verify_code in (_NOT_YET_VALID, _EXPIRED):
        now = time.strftime("%Y-%m-%d %H:%M:%SZ", time.gmtime())
        return (
            f"by this machine's clock ({now}) the certificate of the Mixer at {address} is not valid: "
            "set the clock"
        )
    return f"the server at {address} shows a certificate that this Rack's Mixer did not issue"


def _anyone() -> ssl.SSLContext:
    """Trust anyone: to fetch what is then held against a fingerprint, and for nothing else."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    return context


def _only(ca_pem: bytes) -> ssl.SSLContext:
    """Trust servers of that authority. It issues server certificates to the Mixer alone, so any name will do:
    an address that was forwarded or is new to the Mixer must not keep a Rack out."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.load_verify_locations(cadata=ca_pem.decode("ascii"))
    return context


def _digest(text: str, nonce: str) -> bytes:
    return _CONTEXT + nonce.encode() + b"\n" + sha256(text.encode()).digest()
