"""Why a Rack is not let in."""

from __future__ import annotations

from fluxrig.errors import FluxrigError


class Refusal(FluxrigError):
    """What the Rack hears, one line, and `code`, the reason for programs.

    `stranger` says that nothing it showed is known here: such tries are limited.
    """

    def __init__(self, code: str, reason: str, *, stranger: bool = False) -> None:
        super().__init__(reason)
        self.code = code
        self.stranger = stranger
