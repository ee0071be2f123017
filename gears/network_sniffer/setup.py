"""From the configuration to a sniffer that is ready to be fed."""

from __future__ import annotations

from collections import defaultdict

from gears.network_sniffer.baseline import Learned
from gears.network_sniffer.capture_filter import accepts, parse_filter
from gears.network_sniffer.config import Config, DeviceConfig, parse_endpoint
from gears.network_sniffer.devices import Device, Devices, Named
from gears.network_sniffer.events import KINDS, Recorder
from gears.network_sniffer.observer import Scope
from gears.network_sniffer.reassembly import Limits
from gears.network_sniffer.sniffer import Settings, Sniffer


def make_sniffer(
    config: Config, src: str, uns: str, identity: bytes, learned: Learned | None = None
) -> Sniffer:
    """Make one for a gear `src` on the UNS path `uns`; `identity` stands for the capture in its ids.

    `learned` is what the baseline knows from before.
    """
    schemas = frozenset(KINDS[kind] for kind in config.emit)
    accept = accepts(parse_filter(config.filter)) if config.filter else None
    return Sniffer(Recorder(src, uns, identity, schemas), settings_of(config, uns, learned), accept)


def settings_of(config: Config, uns: str, learned: Learned | None = None) -> Settings:
    """Give the settings that a configuration asks for; all times in ns."""
    return Settings(
        request_timeout_ns=round(config.request_timeout * 1e9),
        pending=config.max_pending,
        report_ns=round(config.report_every * 1e9),
        limits=Limits(
            connections=config.max_connections,
            idle_ns=round(config.idle_timeout * 1e9),
            stream_bytes=config.max_stream_bytes,
            total_bytes=config.max_bytes,
        ),
        scope=Scope(
            learn_ns=round(config.learn * 1e9),
            learned=learned,
            values=config.max_values,
            assets=config.max_assets,
            devices=_devices(config, uns.rpartition("/")[0]),
        ),
    )


def _devices(config: Config, parent: str) -> Devices:
    """Give the devices by where they are; those without a path are beside the gear, below `parent`."""
    devices = {}
    for name, device in config.devices.items():
        uns = device.uns or (f"{parent}/{name}" if parent else name)
        devices[(*parse_endpoint(device.endpoint), device.unit)] = Device(uns, _tables(device))
    return devices


def _tables(device: DeviceConfig) -> dict[str, list[Named]]:
    tables: dict[str, list[Named]] = defaultdict(list)
    for name, tag in device.tags.items():
        made = tag.to_tag(name, device.address_base)
        tables[made.at.table].append(Named(made, tag.unit))
    return dict(tables)
