"""Certificates say what the Mixer decided, are good for one purpose, and come from one authority."""

import ssl
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509 import Certificate, CertificateSigningRequestBuilder, Name, load_der_x509_csr

from fluxrig.errors import IdentityError
from fluxrig.identity import certificates as c
from fluxrig.identity.certificates import Authority, Key, RackName

CA = c.make_ca("fluxrig test")


def rack(key: Key | None = None, *, ca: Authority = CA, life_s: int = 3600) -> Certificate:
    return c.issue_rack(ca, c.make_csr(key or c.make_key(), "asked", "other"), "default", "press-1", life_s)


def test_a_rack_is_named_as_the_mixer_decided() -> None:
    """The names in a request are not what is issued: project and Rack are the Mixer's choice."""
    certificate = rack()
    assert c.rack_name(certificate) == RackName("default", "press-1")
    assert c.issued_by(CA.certificate, certificate)
    assert not c.issued_by(c.make_ca("fluxrig test").certificate, certificate)


def test_a_certificate_holds_for_its_time_and_for_clocks_behind() -> None:
    """Valid from ten minutes before it was made, until its life is over."""
    certificate, now = rack(life_s=3600), datetime.now(UTC)
    assert (
        timedelta(0) <= now - timedelta(seconds=600) - certificate.not_valid_before_utc < timedelta(minutes=1)
    )
    assert timedelta(0) <= now + timedelta(hours=1) - certificate.not_valid_after_utc < timedelta(minutes=1)


def test_only_who_has_the_key_is_issued_for_it() -> None:
    """A request for somebody else's public key, and one for another kind of key, are refused."""
    stolen = c.to_pem(c.make_csr(c.make_key(), "default", "press-1"))
    body = bytearray(c.csr_from_pem(stolen).public_bytes(Encoding.DER))
    body[-1] ^= 1
    altered = load_der_x509_csr(bytes(body))
    with pytest.raises(IdentityError, match="not signed by its own key"):
        c.issue_rack(CA, altered, "default", "press-1", 3600)
    for key in (
        rsa.generate_private_key(65537, 2048),
        ec.generate_private_key(ec.SECP384R1()),
        Ed25519PrivateKey.generate(),
    ):
        digest = None if isinstance(key, Ed25519PrivateKey) else SHA256()
        request = CertificateSigningRequestBuilder().subject_name(Name([])).sign(key, digest)
        with pytest.raises(IdentityError, match="P-256"):
            c.issue_rack(CA, request, "default", "press-1", 3600)


def test_what_is_no_racks_certificate_names_no_rack() -> None:
    """Neither the authority's own nor a server's certificate passes for a Rack's."""
    server, _ = c.issue_server(CA, ["localhost", "127.0.0.1"], 3600)
    for other in (CA.certificate, server):
        with pytest.raises(IdentityError, match="names no Rack"):
            c.rack_name(other)


def test_a_key_is_the_same_in_request_and_certificate() -> None:
    """Fingerprints of a key, of its request and of its certificate agree; those of certificates differ."""
    key = c.make_key()
    request, certificate = c.make_csr(key, "default", "press-1"), rack(key)
    assert c.key_fingerprint(key) == c.key_fingerprint(request) == c.key_fingerprint(certificate)
    assert c.fingerprint(certificate) != c.fingerprint(rack(key))
    assert c.serial(certificate) != c.serial(rack(key))


def test_all_of_it_survives_pem() -> None:
    """Certificates, requests and keys are read back as they were written; other text is refused."""
    key = c.make_key()
    assert c.certificate_from_pem(c.to_pem(CA.certificate)) == CA.certificate
    assert c.key_fingerprint(c.key_from_pem(c.key_to_pem(key))) == c.key_fingerprint(key)
    request = c.csr_from_pem(c.to_pem(c.make_csr(key, "default", "press-1")))
    assert c.key_fingerprint(request) == c.key_fingerprint(key)
    for read in (c.certificate_from_pem, c.key_from_pem, c.csr_from_pem):
        for text in (b"", b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", b"\x00\xff"):
            with pytest.raises(IdentityError):
                read(text)


@pytest.mark.parametrize(("project", "name"), [("", "press"), ("default", ""), ("default", "x" * 65)])
def test_names_that_do_not_fit_are_refused(project: str, name: str) -> None:
    """What X.509 can't hold is refused by name rather than cut."""
    with pytest.raises(IdentityError, match="1 to 64"):
        c.make_csr(c.make_key(), project, name)


def handshake(server: ssl.SSLContext, client: ssl.SSLContext, host: str) -> ssl.SSLObject:
    """Run a TLS handshake in memory, with one byte each way; give the server's side."""
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    serving = server.wrap_bio(to_server, to_client, server_side=True)
    asking = client.wrap_bio(to_client, to_server, server_hostname=host)
    waiting = [asking.do_handshake, serving.do_handshake, lambda: asking.write(b"?"), lambda: serving.read(1)]
    for _ in range(20):
        while waiting:
            try:
                waiting[0]()
            except ssl.SSLWantReadError:
                waiting[:2] = reversed(waiting[:2])
                break
            waiting.pop(0)
    assert not waiting
    return serving


def context(folder: Path, certificate: Certificate, key: Key, *, server: bool) -> ssl.SSLContext:
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER if server else ssl.PROTOCOL_TLS_CLIENT)
    made.minimum_version = ssl.TLSVersion.TLSv1_3
    made.verify_mode = ssl.CERT_REQUIRED
    made.load_verify_locations(cadata=c.to_pem(CA.certificate).decode())
    pem = folder / "chain.pem"
    pem.write_bytes(c.key_to_pem(key) + c.to_pem(certificate))
    made.load_cert_chain(pem)
    return made


def test_tls_takes_each_for_its_own_purpose_alone(tmp_path: Path) -> None:
    """OpenSSL takes a Rack as a client, the Mixer as a server under its names; never one as the other."""
    rack_key = c.make_key()
    server_certificate, server_key = c.issue_server(CA, ["mixer.example", "127.0.0.1", "::1"], 3600)
    rack_certificate = rack(rack_key)
    serve = context(tmp_path, server_certificate, server_key, server=True)
    ask = context(tmp_path, rack_certificate, rack_key, server=False)
    for host in ("mixer.example", "127.0.0.1", "::1"):
        assert handshake(serve, ask, host).version() == "TLSv1.3"
    for served, asked, host in (
        (serve, ask, "other.example"),
        (context(tmp_path, rack_certificate, rack_key, server=True), ask, "press-1"),
        (serve, context(tmp_path, server_certificate, server_key, server=False), "mixer.example"),
        (serve, context(tmp_path, *expired(), server=False), "mixer.example"),
    ):
        with pytest.raises(ssl.SSLError):
            handshake(served, asked, host)


def expired() -> tuple[Certificate, Key]:
    key = c.make_key()
    return rack(key, life_s=-1), key
