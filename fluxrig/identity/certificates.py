"""X.509 (RFC 5280): the Mixer's authority, and the certificates it issues to Racks and to its own servers.

ECDSA on P-256 with SHA-256 throughout, which every TLS library and every key store has. A certificate says
nothing that its asker chose: of a request only the public key is taken, once the request proves that its
sender has the private one.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from typing import Final
from urllib.parse import urlsplit

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives import serialization as form
from cryptography.hazmat.primitives.asymmetric.ec import (
    SECP256R1,
    EllipticCurvePrivateKey,
    EllipticCurvePublicKey,
    generate_private_key,
)
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from fluxrig.errors import IdentityError

CA_LIFE_S: Final = 10 * 365 * 86400
SKEW_S: Final = 600
MAX_NAME_CHARS: Final = 64  # what an X.509 common name may have (RFC 5280, appendix A.1)
_SCHEME: Final = "fluxrig"

Key = EllipticCurvePrivateKey


@dataclass(frozen=True, slots=True)
class Authority:
    """A certificate authority: its certificate, and the key that signs for it."""

    certificate: x509.Certificate
    key: Key


@dataclass(frozen=True, slots=True)
class RackName:
    """Whom a Rack's certificate names."""

    project: str
    rack: str

    def __str__(self) -> str:
        return f"{_SCHEME}://{self.project}/{self.rack}"


def make_key() -> Key:
    return generate_private_key(SECP256R1())


def make_ca(name: str, life_s: int = CA_LIFE_S) -> Authority:
    """Make an authority that signs for itself and for end certificates only (path length 0)."""
    key = make_key()
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    builder = _builder(subject, subject, key.public_key(), life_s, SKEW_S)
    usage = _usage(key_cert_sign=True, crl_sign=True)
    builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
    return Authority(builder.add_extension(usage, critical=True).sign(key, hashes.SHA256()), key)


def make_csr(key: Key, project: str, rack: str) -> x509.CertificateSigningRequest:
    """Ask for a certificate. The names are for the eye; the Mixer decides which ones it issues."""
    subject = _rack_subject(RackName(project, rack))
    return x509.CertificateSigningRequestBuilder().subject_name(subject).sign(key, hashes.SHA256())


def issue_rack(
    ca: Authority,
    csr: x509.CertificateSigningRequest,
    project: str,
    rack: str,
    life_s: int,
    *,
    skew_s: int = SKEW_S,
) -> x509.Certificate:
    """Issue a client certificate that names `project` and `rack`, for the key that signed `csr`.

    It is valid from `skew_s` before now, for the sake of clocks that are behind, until `life_s` from now.
    IdentityError when the request is not signed by its own key, or the key is not one on P-256.
    """
    name = RackName(project, rack)
    builder = _builder(_rack_subject(name), ca.certificate.subject, _proven_key(csr), life_s, skew_s)
    uri = x509.SubjectAlternativeName([x509.UniformResourceIdentifier(str(name))])
    return _sign(builder, ca, uri, ExtendedKeyUsageOID.CLIENT_AUTH)


def issue_server(
    ca: Authority, names: Iterable[str], life_s: int, skew_s: int = SKEW_S
) -> tuple[x509.Certificate, Key]:
    """Issue a server certificate and its key. `names`: host names and addresses it is reached by."""
    key = make_key()
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "fluxrig Mixer")])
    builder = _builder(subject, ca.certificate.subject, key.public_key(), life_s, skew_s)
    reached = x509.SubjectAlternativeName([_host(name) for name in dict.fromkeys(names)])
    return _sign(builder, ca, reached, ExtendedKeyUsageOID.SERVER_AUTH), key


def check_csr(csr: x509.CertificateSigningRequest) -> None:
    """Raise IdentityError when a request is not signed by its own key, or the key is not one on P-256."""
    _proven_key(csr)


def rack_name(certificate: x509.Certificate) -> RackName:
    """Tell whom a Rack's certificate names. IdentityError when it is not such a certificate."""
    try:
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        (uri,) = names.get_values_for_type(x509.UniformResourceIdentifier)
        (common,) = certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
        parts = urlsplit(uri)
    except (x509.ExtensionNotFound, ValueError) as error:
        raise IdentityError("a certificate that names no Rack") from error
    name = RackName(parts.netloc, parts.path.removeprefix("/"))
    if str(name) != uri or common.value != name.rack:
        raise IdentityError("a certificate that names no Rack")
    return name


def fingerprint(certificate: x509.Certificate) -> str:
    """SHA-256 of the certificate (DER), as 64 hex digits: what an operator compares by eye."""
    return certificate.fingerprint(hashes.SHA256()).hex()


def key_fingerprint(owner: x509.Certificate | x509.CertificateSigningRequest | Key) -> str:
    """SHA-256 of the public key (DER SubjectPublicKeyInfo) as hex, the same for key, request, certificate."""
    der = owner.public_key().public_bytes(form.Encoding.DER, form.PublicFormat.SubjectPublicKeyInfo)
    return sha256(der).hexdigest()


def serial(certificate: x509.Certificate) -> str:
    """Give the serial number as hex."""
    return f"{certificate.serial_number:x}"


def to_pem(what: x509.Certificate | x509.CertificateSigningRequest) -> bytes:
    return what.public_bytes(form.Encoding.PEM)


def key_to_pem(key: Key) -> bytes:
    """Give the private key unencrypted (PKCS #8): for a file of mode 0600."""
    return key.private_bytes(form.Encoding.PEM, form.PrivateFormat.PKCS8, form.NoEncryption())


def certificate_from_pem(pem: bytes) -> x509.Certificate:
    """Read one certificate. IdentityError when it is none."""
    try:
        return x509.load_pem_x509_certificate(pem)
    except ValueError:
        raise IdentityError("not a certificate in PEM") from None


def csr_from_pem(pem: bytes) -> x509.CertificateSigningRequest:
    """Read a certificate request. IdentityError when it is none."""
    try:
        return x509.load_pem_x509_csr(pem)
    except ValueError:
        raise IdentityError("not a certificate request in PEM") from None


def key_from_pem(pem: bytes) -> Key:
    """Read a private key on P-256. IdentityError when it is none."""
    try:
        key = form.load_pem_private_key(pem, None)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        key = None
    if not isinstance(key, EllipticCurvePrivateKey) or not isinstance(key.curve, SECP256R1):
        raise IdentityError("not a private key on P-256 in PEM")
    return key


def issued_by(ca: x509.Certificate, certificate: x509.Certificate) -> bool:
    """Tell whether `ca` signed `certificate`; says nothing about time and use."""
    try:
        certificate.verify_directly_issued_by(ca)
    except (ValueError, TypeError, InvalidSignature):
        return False
    return True


def _proven_key(csr: x509.CertificateSigningRequest) -> EllipticCurvePublicKey:
    try:
        key, proven = csr.public_key(), csr.is_signature_valid
    except (ValueError, UnsupportedAlgorithm):
        raise IdentityError("a certificate request with a key of an unknown kind") from None
    if not isinstance(key, EllipticCurvePublicKey) or not isinstance(key.curve, SECP256R1):
        raise IdentityError("a certificate request with another key than ECDSA on P-256")
    if not proven:
        raise IdentityError("a certificate request that is not signed by its own key")
    return key


def _builder(
    subject: x509.Name, issuer: x509.Name, key: EllipticCurvePublicKey, life_s: int, skew_s: int
) -> x509.CertificateBuilder:
    now = datetime.now(UTC).replace(microsecond=0)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(seconds=skew_s))
        .not_valid_after(now + timedelta(seconds=life_s))
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)
    )


def _sign(
    builder: x509.CertificateBuilder,
    ca: Authority,
    names: x509.SubjectAlternativeName,
    use: x509.ObjectIdentifier,
) -> x509.Certificate:
    issuer = x509.AuthorityKeyIdentifier.from_issuer_public_key(ca.certificate.public_key())  # type: ignore[arg-type]
    return (
        builder.add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_usage(digital_signature=True), critical=True)
        .add_extension(x509.ExtendedKeyUsage([use]), critical=False)
        .add_extension(names, critical=False)
        .add_extension(issuer, critical=False)
        .sign(ca.key, hashes.SHA256())
    )


def _rack_subject(name: RackName) -> x509.Name:
    for part in (name.project, name.rack):
        if not 0 < len(part) <= MAX_NAME_CHARS:
            raise IdentityError(f"{part!r} is no name for a certificate: 1 to {MAX_NAME_CHARS} characters")
    return x509.Name(
        [
            x509.NameAttribute(NameOID.ORGANIZATION_NAME, name.project),
            x509.NameAttribute(NameOID.COMMON_NAME, name.rack),
        ]
    )


def _host(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)


def _usage(**wanted: bool) -> x509.KeyUsage:
    names = (
        "digital_signature",
        "content_commitment",
        "key_encipherment",
        "data_encipherment",
        "key_agreement",
        "key_cert_sign",
        "crl_sign",
        "encipher_only",
        "decipher_only",
    )
    return x509.KeyUsage(**{name: wanted.get(name, False) for name in names})
