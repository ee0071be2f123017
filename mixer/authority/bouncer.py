"""Sees who is connected to the hub, and closes connections, by the hub's own account."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from fluxrig.bus import Bus
from fluxrig.errors import BusError

_ANSWER_S: Final = 2.0

_log = logging.getLogger("fluxrig.mixer")


@dataclass(frozen=True, slots=True)
class LeafLink:
    """A leaf's connection to a hub (server/monitor.go, LeafInfo)."""

    server: str
    connection: int
    project: str
    rack: str
    host: str
    plays_hub: bool


class Bouncer:
    """`system` is a connection in the hub's own account; `projects` gives a project by its account's key."""

    def __init__(self, system: Bus, projects: Mapping[str, str]) -> None:
        self._system = system
        self._projects = projects

    async def leaves(self) -> list[LeafLink]:
        """Give all leaves that are connected. Raises BusError."""
        answer = json.loads(await self._system.request("$SYS.REQ.SERVER.PING.LEAFZ", b"{}", _ANSWER_S))
        data = answer.get("data") or {}
        return [
            LeafLink(
                data["server_id"],
                leaf["id"],
                self._projects.get(leaf["account"], ""),
                leaf["name"],
                leaf["ip"],
                leaf.get("is_spoke", False),
            )
            for leaf in data.get("leafs") or []
        ]

    async def put_out(self, leaf: LeafLink, why: str) -> None:
        """Close a connection. What is behind it dials again, and is asked again who it is."""
        subject = f"$SYS.REQ.SERVER.{leaf.server}.KICK"
        try:
            await self._system.request(subject, json.dumps({"cid": leaf.connection}).encode(), _ANSWER_S)
        except BusError as error:
            _log.warning("Rack %s of %s can't be put out: %s", leaf.rack, leaf.project, error)
        else:
            _log.info("put out Rack %s of %s: %s", leaf.rack, leaf.project, why)
