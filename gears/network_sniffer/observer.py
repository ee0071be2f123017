"""What is made of exchanges, whatever the protocol: events, values, links, assets, and what is unusual."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from fluxrig.message import TAGS
from gears.network_sniffer.asset import Asset
from gears.network_sniffer.baseline import Baseline, Learned
from gears.network_sniffer.change import Change
from gears.network_sniffer.devices import Devices
from gears.network_sniffer.events import ASSET, LINK, TRANSACTION, VALUE, Recorder, Repeats
from gears.network_sniffer.exchange import MODERN_NS, Gist, Seen, Usual
from gears.network_sniffer.flow import End, Flow, Traits
from gears.network_sniffer.link import Link
from gears.network_sniffer.values import Values

FINDINGS: Final = 8
"""Findings of a kind that are told of one client at one server, before only the 10th, 100th … are."""
_ANSWERED: Final = frozenset({"ok", "exception", "orphan_response", "malformed"})


@dataclass(frozen=True, slots=True)
class Scope:
    """How much is learned and remembered."""

    learn_ns: int = 3_600_000_000_000
    learned: Learned | None = None
    """What the baseline knows from before."""
    values: int = 262_144
    assets: int = 16_384
    """Also of links."""
    devices: Devices = field(default_factory=dict)


class Observer:
    """Takes exchanges and connections, records events."""

    def __init__(self, recorder: Recorder, scope: Scope) -> None:
        self.recorder = recorder
        self.adus = 0
        """Whole ADUs in what was told as transactions."""
        self.forgotten = 0
        """Assets and links that had to go for newer ones."""
        self._limit = scope.assets
        self._values = Values(scope.values, scope.devices)
        self.baseline = Baseline(scope.learn_ns, scope.learned)
        self._links: dict[tuple[str, str, int, str], Link] = {}
        self._assets: dict[str, Asset] = {}
        self._changed: dict[str, Asset] = {}
        self._macs: dict[str, str] = {}
        self._repeats = Repeats(FINDINGS)
        self._wants_values = recorder.wants(VALUE) or recorder.wants(TAGS)

    def flow(self, client: End, server: End, traits: Traits, ts: int) -> Flow:
        """Give the flow of a connection whose protocol and roles are known now."""
        key = (client[0], *server, traits.name)
        link = self._links.get(key)
        if link is None:
            if len(self._links) >= self._limit:
                self._report_link(self._links.pop(next(iter(self._links))), ts)
                self.forgotten += 1
            link = self._links[key] = Link(client[0], server, traits.name, ts)
        flow = Flow(client, server, traits, link)
        self._take_part(client[0], "client", f"{traits.name}", ts)
        self._take_part(server[0], "server", f"{traits.name}:{server[1]}", ts)
        return flow

    def meet(self, ip: str, mac: str) -> None:
        """Note which MAC address an IP address was seen with, before it is known to be an asset."""
        if len(self._macs) >= 4 * self._limit:
            self._macs.clear()
        self._macs[ip] = mac

    def transaction(self, flow: Flow, ts: int, data: dict[str, Any]) -> None:
        """Take an exchange: what a protocol tells as `ot.transaction/1`, true at `ts`."""
        ident = self.recorder.event(TRANSACTION, ts, data)
        asked = data.get("request")
        if data["status"] != "truncated":
            self.adus += (asked is not None) + ("response" in data)
        self._learn(flow, Gist(data), ts, None if asked is None else asked["ts"], ident)

    def exchange(self, flow: Flow, gist: Usual, tid: int, asked: Seen, answered: Seen) -> None:
        """Take an exchange that went as usual: the same as `transaction`, several times as fast."""
        ts = answered[0]
        ident = self.recorder.encoded(TRANSACTION, ts, gist.encode(flow.data, tid, asked, answered))
        self.adus += 2
        self._learn(flow, gist, ts, asked[0], ident)

    def _learn(self, flow: Flow, gist: Gist, ts: int, asked_ts: int | None, ident: bytes | None) -> None:
        link = flow.link
        link.count(gist, ts, asked_ts)
        if gist.certain and self._wants_values:
            changes = self._values.changes(flow, gist)
            for change in changes:
                self._report_value(flow, gist.place[0], ts, change, ident)
            if named := [change for change in changes if change.named is not None]:
                self._report_tags(named, ts, ident)
        if gist.place not in link.known or gist.refused:
            self._look_closer(flow, gist, ts)
        if gist.objects is not None:
            asset = self._asset(flow.server[0], ts)
            asset.identify(gist.place[0], gist.objects, self.recorder.frame, ts)

    def tick(self, now_ns: int) -> None:
        """Report assets that became known, or better known."""
        changed, self._changed = self._changed, {}
        for asset in changed.values():
            self._report_asset(asset, now_ns)

    def report(self, now_ns: int) -> None:
        """Report every link that was used since the last time."""
        used = [link for link in self._links.values() if link.changed]
        for link in used:
            for ip in (link.client, link.server[0]):
                if ip in self._assets:
                    asset = self._assets[ip]
                    asset.last_ts = max(asset.last_ts, link.last_ts)
        self.tick(now_ns)
        for link in used:
            self._report_link(link, now_ns)

    def finish(self, now_ns: int) -> None:
        """Report all assets and links as they are at the end."""
        self._changed = dict(self._assets)
        self.report(now_ns)

    def _look_closer(self, flow: Flow, gist: Gist, ts: int) -> None:
        unit = gist.place[0]
        if gist.outcome[1] in _ANSWERED:
            self._asset(flow.server[0], ts).note("units", unit, self.recorder.frame, ts, f"answers as {unit}")
        for code, severity, detail, evidence in self.baseline.findings(flow, gist, ts):
            count = self._repeats.count(f"{code} {flow.client[0]} {flow.server_key}")
            if count is not None:
                self.recorder.anomaly(ts, code, severity, detail, count=count, flow=flow.data, **evidence)

    def _take_part(self, ip: str, role: str, protocol: str, ts: int) -> None:
        asset, frame = self._asset(ip, ts), self.recorder.frame
        asset.note("roles", role, frame, ts, f"{role} of {protocol}")
        asset.note("protocols", protocol, frame, ts, f"{role} of {protocol}")
        if mac := self._macs.pop(ip, None):
            asset.note("macs", mac, frame, ts, "Ethernet header: its own, or that of a router")

    def _asset(self, ip: str, ts: int) -> Asset:
        asset = self._assets.get(ip)
        if asset is None:
            if len(self._assets) >= self._limit:
                oldest = self._assets.pop(next(iter(self._assets)))
                self._changed.pop(oldest.ip, None)
                self._report_asset(oldest, ts)
                self.forgotten += 1
            asset = self._assets[ip] = Asset(ip, ts, self._changed)
        asset.last_ts = max(asset.last_ts, ts)
        return asset

    def _report_asset(self, asset: Asset, ts: int) -> None:
        self.recorder.event(ASSET, ts, asset.data())

    def _report_link(self, link: Link, ts: int) -> None:
        link.changed = False
        self.recorder.event(LINK, ts, link.data())

    def _report_value(self, flow: Flow, unit: int, ts: int, change: Change, ident: bytes | None) -> None:
        frame = self.recorder.frame
        encoded = change.encode(flow, unit, frame) if ts >= MODERN_NS else None
        if encoded is not None:
            self.recorder.encoded(VALUE, ts, encoded, ident)
            return
        fields = change.fields(flow, unit, frame)
        uns = None if change.device is None else change.device.uns
        self.recorder.event(VALUE, ts, fields, uns=uns, meta=change.meta(), ref=ident)

    def _report_tags(self, changes: Sequence[Change], ts: int, ident: bytes | None) -> None:
        """Tell the tags that one exchange changed as a poller would: all belong to one device."""
        data = {change.named.tag.name: change.new for change in changes if change.named is not None}
        meta = {name: text for change in changes for name, text in change.meta().items()}
        uns = None if changes[0].device is None else changes[0].device.uns
        self.recorder.event(TAGS, ts, data, uns=uns, meta=meta, ref=ident)
