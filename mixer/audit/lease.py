"""Who may write to a bucket: the one whose lease in it goes on changing.

The holder renews it every few seconds. Who waits takes it when it has seen no change for long enough by its
own clock, so that clocks need not agree. A lease keeps two Mixers from working side by side; that nothing is
written twice does not rest on it, but on manifest segments being created once.
"""

from __future__ import annotations

import json
import os
import secrets
import socket
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Final

from fluxrig.errors import AuditError
from mixer.audit.objects import Object, Objects

NAME: Final = "lease.json"
TIME_S: Final = 10.0
"""A holder that was not heard of for so long has lost it."""


class Fenced(AuditError):
    """Another Mixer writes to the bucket now."""


class Lease:
    """One Mixer's claim. Each call is one attempt; OSError when the bucket is away."""

    def __init__(
        self, objects: Objects, time_s: float = TIME_S, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.holder = ""
        """Who had it when it was last asked for."""
        self._objects = objects
        self._time_s = time_s
        self._clock = clock
        self._own = f"{socket.gethostname()}:{os.getpid()}:{secrets.token_hex(4)}"
        self._count = 0
        self._etag = ""
        self._seen: tuple[str, float] | None = None

    def take(self) -> bool:
        """Take it if it is free, or was not renewed for its time; tell whether it is ours."""
        found = self._objects.get(NAME)
        if found is None:
            self._etag = self._objects.create(NAME, self._text()) or ""
            return bool(self._etag)
        self.holder = _holder(found)
        if self.holder and not self._is_stale(found):
            return False
        self._etag = self._objects.replace(NAME, self._text(), found.etag) or ""
        return bool(self._etag)

    def _is_stale(self, found: Object) -> bool:
        now = self._clock()
        if self._seen is None or self._seen[0] != found.etag:
            self._seen = found.etag, now
        return now - self._seen[1] >= self._time_s

    def forget(self) -> None:
        """Count anew: while the bucket was away its holder could not renew."""
        self._seen = None

    def renew(self) -> None:
        """Keep it. Raises Fenced when another one has it."""
        etag = self._objects.replace(NAME, text := self._text(), self._etag)
        if etag is None:
            found = self._objects.get(NAME)
            if found is None or found.data not in (text, self._before):
                taken = _holder(found) if found else "someone who removed it"
                raise Fenced(f"{self._objects.address} is written to by {taken} now; this Mixer gives way")
            etag = found.etag  # the answer to an earlier renewal did not arrive
        self._etag = etag

    def release(self) -> None:
        """Let the next one take it at once."""
        with suppress(OSError):
            self._objects.replace(NAME, b'{"holder":""}', self._etag)

    def is_exclusive(self) -> bool:
        """Tell whether the bucket minds the condition on which all of this rests."""
        return self._objects.create(NAME, self._before) is None

    def _text(self) -> bytes:
        self._count += 1
        self._before = json.dumps({"holder": self._own, "renewal": self._count}).encode()
        return self._before


def _holder(found: Object) -> str:
    with suppress(ValueError, AttributeError):
        return str(json.loads(found.data).get("holder", ""))
    return "an unknown one"
