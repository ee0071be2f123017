"""Strangers at the enrolment port, over real connections: refused, told once, and nobody else disturbed."""

import asyncio
import json
import ssl
import struct
from base64 import b64encode
from pathlib import Path
from socket import SO_LINGER, SOL_SOCKET
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fluxrig.identity import certificates
from fluxrig.identity.enrol import Hello, Signed, Untrusted, _digest, ask, authority, sign
from fluxrig.identity.join import JoinToken
from fluxrig.identity.keys import Keys
from mixer.enrolment.limits import Limits, Rate

from .office import Edge, Office
from .office import opened as office_at

KEYS = Keys.create()


def refusals(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [text for text in caplog.messages if text.startswith("refused")]


async def plain(office: Office, said: bytes = b"", local: str = "127.0.0.1") -> bytes:
    """Say something without TLS and give what comes back until the end."""
    reader, writer = await asyncio.open_connection(*_at(office), local_addr=(local, 0))
    try:
        writer.write(said)
        return await reader.read()
    except ConnectionError:
        return b""
    finally:
        writer.transport.abort()


async def secure(office: Office, said: bytes) -> tuple[Hello, bytes]:
    """Say something over TLS and give the greeting, and what came after it."""
    trust = ssl.create_default_context(cadata=office.server._ca_pem)
    reader, writer = await asyncio.open_connection(*_at(office), ssl=trust)
    try:
        hello = Hello.model_validate_json(await reader.readline())
        writer.write(said)
        return hello, await reader.read()
    except ConnectionError:
        return hello, b""
    finally:
        writer.transport.abort()


def _at(office: Office) -> tuple[str, int]:
    return office.address.host, office.address.port


async def served(office: Office, folder: Path) -> None:
    """An honest Rack is let in."""
    await Edge(folder).join(office.token(approve=True), rack="honest", uns="honest")


async def test_the_server_speaks_tls_1_3_alone(office: Office) -> None:
    """An older version is no way in."""
    old = ssl.create_default_context(cadata=office.server._ca_pem)
    old.maximum_version = ssl.TLSVersion.TLSv1_2
    with pytest.raises((ssl.SSLError, ConnectionError)):
        await asyncio.open_connection(*_at(office), ssl=old)


async def test_a_man_in_the_middle_learns_nothing(office: Office, edge: Edge, tmp_path: Path) -> None:
    """Another server under the token's address has another authority: the Rack tells it nothing."""
    token = office.token(approve=True)
    async with office_at(tmp_path / "middle") as middle:
        heard: list[bytes] = []
        middle.server._answer = lambda line, *_: heard.append(line)  # type: ignore[assignment,method-assign]
        there = JoinToken(middle.address, token.ca, token.id, token.secret)
        with pytest.raises(Untrusted, match=f"its authority is .*, not {token.ca}. Nothing was sent"):
            await edge.joining(there).ask()
        # one that passes the true authority's certificate on, but can't have a certificate by it
        middle.server._ca_pem = office.server._ca_pem
        with pytest.raises(Untrusted, match="a certificate that this Rack's Mixer did not issue"):
            await edge.joining(there).ask()
        assert heard == []


async def test_an_altered_fingerprint_is_no_way_in(office: Office, edge: Edge) -> None:
    """A token whose fingerprint was changed leads to no Mixer at all, and leaves no trace on the true one."""
    token = office.token(approve=True)
    altered = JoinToken(token.address, "00" * 32, token.id, token.secret)
    with pytest.raises(Untrusted, match="is not the Mixer of this token"):
        await edge.joining(altered).ask()
    assert office.registry.all() == []
    assert [one.used for one in office.tokens.list(0)] == [0]


async def test_a_certificate_of_a_rack_is_not_a_mixers(office: Office, edge: Edge, tmp_path: Path) -> None:
    """An enrolled Rack can't pose as the Mixer with what it was issued: it is good for a client alone."""
    identity = await edge.join(office.token(approve=True))
    pem = office.server._ca_pem.encode()
    async with office_at(tmp_path / "posing") as posing:
        posing.server._ca_pem = office.server._ca_pem
        posing.server._tls.load_cert_chain(identity.tls_pem, identity.tls_key)
        assert await authority(posing.address, certificates.fingerprint(office.ca.certificate)) == pem
        joining = Edge(tmp_path / "other").joining(office.token(), rack="other", uns="other")
        with pytest.raises(Untrusted):
            await ask(posing.address, pem, joining._request, joining.keys)


async def test_a_request_can_not_be_replayed(office: Office, edge: Edge) -> None:
    """A request that was signed for another connection's nonce is refused."""
    joining = edge.joining(office.token(approve=True))
    signed = sign(joining._request, "another nonce", joining.keys).model_dump_json().encode()
    _, answer = await secure(office, signed + b"\n")
    assert json.loads(answer)["error"] == "the request is not signed by the NATS key that it names"
    assert office.registry.all() == []


async def test_garbage_costs_one_line_each_kind(
    office: Office, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """HTTP, noise, silence that breaks off, resets, lines without end: one log line a kind, no traceback."""
    for _ in range(3):
        await plain(office, b"GET / HTTP/1.1\r\n\r\n")
        await plain(office, bytes(range(256)) * 8)
        _, writer = await asyncio.open_connection(*_at(office))
        writer.get_extra_info("socket").setsockopt(SOL_SOCKET, SO_LINGER, struct.pack("ii", 1, 0))
        writer.transport.abort()
    await secure(office, b"x" * (70 << 10))
    await secure(office, b'{"request": "{}", "signature": ""}\n')
    await secure(office, b"\xff\x00\n")
    await served(office, tmp_path / "honest")
    kinds = refusals(caplog)
    assert len(kinds) == len(set(kinds)) <= 7, kinds
    assert "Traceback" not in caplog.text
    assert not [record for record in caplog.records if record.name == "asyncio"]
    async with asyncio.timeout(5):
        while office.server._gate._open.total():  # noqa: ASYNC110 - counted in other tasks
            await asyncio.sleep(0.01)


async def test_the_slow_are_sent_away(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Whoever says nothing, or a byte now and then, has so long for everything and no longer."""
    async with office_at(tmp_path, timeout_s=1.5) as office:
        trust = ssl.create_default_context(cadata=office.server._ca_pem)
        reader, writer = await asyncio.open_connection(*_at(office), ssl=trust)

        async def drip() -> None:
            while True:
                writer.write(b"{")
                await asyncio.sleep(0.02)

        dripping = asyncio.create_task(drip())
        async with asyncio.timeout(5):
            assert await plain(office) == b""
            await reader.readline()
            assert await reader.read() == b""
        dripping.cancel()
        writer.transport.abort()
        assert sorted(text.partition(": ")[2] for text in refusals(caplog)) == [
            "the TLS handshake took longer than 1.5 s",
            "the request took longer than 1.5 s",
        ]


async def test_a_flood_of_connections_is_bounded(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Two thousand connections of one address: 16 are held, the others closed; another is served."""
    async with office_at(tmp_path) as office:
        open_ones = [
            await asyncio.open_connection(*_at(office), local_addr=("127.0.0.2", 0)) for _ in range(20)
        ]
        for _ in range(99):
            burst = [plain(office, b"x", "127.0.0.2") for _ in range(20)]
            await asyncio.gather(*burst, return_exceptions=True)
            assert office.server._gate._open.total() <= 16
        await served(office, tmp_path / "honest")
        for _, writer in open_ones:
            writer.transport.abort()
    said = {text.partition(": ")[2] for text in refusals(caplog)}
    assert (
        {"too many connections at once"}
        <= said
        <= {
            "too many connections at once",
            "too many connections a second",
        }
    )
    assert len(refusals(caplog)) == len(said)


async def test_failures_of_one_do_not_shut_out_others(tmp_path: Path) -> None:
    """What is limited in all are strangers with tokens: a Rack that is known still gets its certificate."""
    limits = Limits(strange_all=Rate(1, 0.001))
    async with office_at(tmp_path / "mixer", limits=limits) as office:
        edge = Edge(tmp_path / "state")
        token = office.token(approve=True, uses=2)
        identity = await edge.join(token)
        guess = JoinToken(token.address, token.ca, token.id, bytes(16))
        with pytest.raises(Exception, match="not one of this Mixer's"):
            await Edge(tmp_path / "guess").joining(guess, rack="guess", uns="guess").ask()
        late = await Edge(tmp_path / "late").joining(token, rack="late", uns="late").ask()
        assert getattr(late, "state", "") == "busy"
        assert (await edge.join(token)).keys().public == identity.keys().public


NOISE = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=9), inner, max_size=3),
)
FIELDS = ["line", "request", "rack", "uns", "nats_key", "csr", "token"]


@settings(max_examples=60, deadline=None)
@given(NOISE, st.sampled_from(FIELDS))
def test_any_request_gets_an_answer(noise: object, place: str) -> None:
    """Whatever JSON comes, and wherever in a request: an answer that says no, never an error of ours."""
    with TemporaryDirectory() as folder:
        office = Office(Path(folder), limits=Limits(strange_all=Rate(1e9, 1e9)))
        text = json.dumps(noise)
        if place not in {"line", "request"}:
            request = {"rack": "a", "uns": "a", "nats_key": KEYS.nats.public, "csr": "", place: noise}
            text = json.dumps(request)
        signature = b64encode(KEYS.nats.sign(_digest(text, "nonce"))).decode()
        line = text if place == "line" else Signed(request=text, signature=signature).model_dump_json()
        answer = office.server._answer(line.encode(), "nonce", "127.0.0.1")
    assert answer.state == "refused"
    assert answer.error
