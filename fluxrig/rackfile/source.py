"""The bytes of a Rack file: read within a bound, and known to be text."""

from __future__ import annotations

import re
import stat
from pathlib import Path
from typing import Final

from fluxrig.rackfile.faults import WHOLE_FILE, Faults, Mark

MAX_BYTES: Final = 1 << 20
# YAML 1.2 §5.1: what a stream may hold.
_NOT_PRINTABLE: Final = re.compile("[^\t\n\r\x20-\x7e\x85\xa0-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_DIRECTIVE: Final = re.compile("^%", re.MULTILINE)


def read(path: Path, faults: Faults) -> bytes:
    """Give the file's bytes, or stop with the reason. A file that is too big is refused by its size."""
    try:
        status = path.stat()
        if stat.S_ISDIR(status.st_mode):
            faults.stop(WHOLE_FILE, "is a directory; name the Rack file in it")
        if not stat.S_ISREG(status.st_mode):
            faults.stop(WHOLE_FILE, "is not a regular file")
        if status.st_size > MAX_BYTES:
            faults.stop(WHOLE_FILE, _too_big(status.st_size))
        with path.open("rb") as file:
            data = file.read(MAX_BYTES + 1)
    except FileNotFoundError:
        faults.stop(WHOLE_FILE, "no such file")
    except OSError as error:
        faults.stop(WHOLE_FILE, f"cannot be read: {(error.strerror or 'unknown error').lower()}")
    except ValueError:
        faults.stop(WHOLE_FILE, "is no file name")
    return data


def text(data: bytes, faults: Faults) -> str:
    """Give the text of a file, or stop at the first place that is none."""
    if len(data) > MAX_BYTES:
        faults.stop(WHOLE_FILE, _too_big(len(data)))
    try:
        decoded = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        before = data[: error.start].decode("utf-8", "replace")
        faults.stop(_end(before), f"not UTF-8 (byte 0x{data[error.start]:02x}); save the file as UTF-8")
    if bad := _NOT_PRINTABLE.search(decoded):
        code = f"U+{ord(bad[0]):04X}"
        faults.stop(_end(decoded[: bad.start()]), f"the control character {code} is not allowed; remove it")
    if directive := _DIRECTIVE.search(decoded):
        mark = _end(decoded[: directive.start()])
        faults.stop(mark, "YAML directives have no meaning here; remove the line that begins with %")
    return decoded


def _too_big(size: int) -> str:
    return f"the file has {size:,} bytes; a Rack file has at most {MAX_BYTES:,}"


def _end(before: str) -> Mark:
    return Mark(before.count("\n") + 1, len(before) - before.rfind("\n"))
