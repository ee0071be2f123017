"""Each `ot.*` event has a row with proper columns, and no peer can send what has no row."""

from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fluxrig.evidence import PublicKeys
from gears.network_sniffer.events import ALL
from mixer.audit.events import TABLES_OF_EVENTS
from mixer.audit.origin import Marks
from mixer.audit.store import AuditStore
from mixer.audit.tables import COUNTERS
from mixer.audit.tabulate import tabulate
from mixer.audit.verify import verify

from .stream import NOON_NS, message, rows, stored

CLIENT, SERVER = {"ip": "10.0.0.9"}, {"ip": "fd00::5", "port": 502}
EVENTS: dict[str, tuple[dict[str, Any], str, tuple[Any, ...]]] = {
    "changes": (
        {"server": SERVER, "client": CLIENT, "unit": 7, "table": "holding", "address": 1, "old": 43981,
         "new": 170, "cause": "write", "frame": 58},
        "SELECT server, client, unit, register, address, name, old, new, value, cause, ref[-1:] FROM changes",
        ("[fd00::5]:502", "10.0.0.9", 7, "holding", 1, None, "43981", "170", 170.0, "write", "a"),
    ),
    "assets": (
        {"addresses": {"ip": "10.0.0.9", "mac": ["02:00:00:00:00:01"]}, "roles": ["client"], "units": [1],
         "vendor": "Acme", "firmware": "1.2", "first_seen": NOON_NS, "last_seen": NOON_NS + 1},
        "SELECT ip, mac, roles, units, vendor, model, firmware, epoch_ns(last_seen) FROM assets",
        ("10.0.0.9", '["02:00:00:00:00:01"]', '["client"]', "[1]", "Acme", None, "1.2", NOON_NS + 1),
    ),
    "links": (
        {"client": CLIENT, "server": SERVER, "protocol": "modbus/tcp", "exchanges": 23, "error_rate": 0.25,
         "period_us": 1000, "jitter_us": 7, "functions": {"3": 23}, "first_seen": NOON_NS},
        "SELECT client, server, protocol, exchanges, error_rate, period_us, jitter_us, functions FROM links",
        ("10.0.0.9", "[fd00::5]:502", "modbus/tcp", 23, 0.25, 1000, 7, '{"3":23}'),
    ),
    "captures": (
        dict.fromkeys(COUNTERS, 5) | {"kernel_drops": 2},
        "SELECT packets, kernel_drops, lost_bytes FROM captures",
        (5, 2, 5),
    ),
}  # fmt: skip
SCHEMAS = {event.table.name: event.schema for event in TABLES_OF_EVENTS}


def keep(store: AuditStore, schema: str, data: dict[str, Any]) -> None:
    item = stored(1, [message(1, data, schema=schema, ref=message(10).id)], 1)
    store.commit("UNS", "e", tabulate("UNS", [item], Marks()))


def is_whole(store: AuditStore) -> bool:
    return verify(store.folder, PublicKeys.load([store.folder.parent / "signing.pub"])).ok


@pytest.mark.parametrize("table", EVENTS)
def test_an_event_has_its_columns(store: AuditStore, table: str) -> None:
    """What the sniffer tells is there by name and type, and verifies."""
    data, sql, answer = EVENTS[table]
    keep(store, SCHEMAS[table], data)
    assert rows(store.folder, sql) == [answer]
    assert is_whole(store)


def test_every_schema_of_the_sniffer_has_its_table() -> None:
    """A new event is not left without one. Those of tags are samples."""
    assert set(SCHEMAS.values()) == {schema for schema in ALL if schema.startswith("ot.")}


NAMES = sorted({name for data, _, _ in EVENTS.values() for name in data} | {"flow", "op", "code", "detail"})
ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers(-(1 << 70), 1 << 70) | st.floats() | st.text() | st.binary(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=6,
)


@pytest.mark.parametrize("schema", SCHEMAS.values())
@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.dictionaries(st.sampled_from(NAMES), ANYTHING))
def test_whatever_a_peer_sends_has_a_row(tmp_path: Path, schema: str, data: dict[str, Any]) -> None:
    """A field of another type is null in its column; the message has its row, none is set aside."""
    run = tabulate("UNS", [stored(1, [message(1, data, schema=schema)], 1)], Marks())
    counts = {name: sum(batch.num_rows for batch in some) for (name, _), some in run.batches.items()}
    table = next(event.table.name for event in TABLES_OF_EVENTS if event.schema == schema)
    assert counts == {"messages": 1, table: 1}
