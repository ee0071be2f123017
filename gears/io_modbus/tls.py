"""What `tls://` needs of its files, and which of them is at fault when it can't be had."""

from __future__ import annotations

import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from fluxrig.errors import FluxrigError

if TYPE_CHECKING:
    from gears.io_modbus.config import TlsConfig


class TlsFileError(FluxrigError):
    """A file that `tls` names can't be used. The text says which key and file, and why."""


def tls_context(config: TlsConfig) -> ssl.SSLContext:
    """Make what TLS needs of its files. Raises TlsFileError."""
    with _blaming("ca", config.ca, "holds no certificates in PEM"):
        context = ssl.create_default_context(cafile=config.ca)
    if not config.verify:
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    if config.certificate is not None:
        with _blaming("certificate", config.certificate, "holds no certificate in PEM"):
            ssl.create_default_context(cafile=config.certificate)
        key = config.key or config.certificate
        with _blaming("key", key, "does not hold the certificate's key in PEM, without a password"):
            Path(key).read_bytes()
            context.load_cert_chain(config.certificate, config.key, _no_password)
    return context


@contextmanager
def _blaming(key: str, path: str | None, reason: str) -> Iterator[None]:
    try:
        yield
    except (ssl.SSLError, _PasswordError):
        raise TlsFileError(f"tls: the file of {key!r}, {path}, {reason}") from None
    except OSError as error:
        why = (error.strerror or str(error)).lower()
        raise TlsFileError(f"tls: the file of {key!r}, {path}, can't be read: {why}") from None


class _PasswordError(Exception):
    pass


def _no_password() -> NoReturn:
    """Stands where OpenSSL would ask at the terminal, and wait."""
    raise _PasswordError
