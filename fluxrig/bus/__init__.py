"""The NATS side: servers, connections, streams. The one place where NATS is spoken.

Hub, Trust, Leaf, LeafRemote  a supervised nats-server: the Mixer's, the Rack's
ControlServer                 the Mixer's where its streams are on another's
Bus, Token, Credentials       one connection, from `Hub.connect` or `Leaf.connect`, and what it shows
ensure_leaf_streams, ensure_hub_streams, add_source, stream_state
watch_sources                 has the hub go on at once with a leaf that is back
Publisher, Parcel             store in a leaf's stream: each once, in order
LeafLimits, LeafRecord, Loss  how much a leaf keeps, and what it lost or dropped
Consumer, Stored              read the hub's stream: each once, in order
Source, mark_of               which Rack's leaf a message came from, as the hub says
"""

from fluxrig.bus.auth import Auth, Credentials, Token
from fluxrig.bus.connection import Bus
from fluxrig.bus.consumer import Consumer, Stored
from fluxrig.bus.hub import LEAF_PORT, ControlServer, Hub, Trust
from fluxrig.bus.leaf import Leaf, LeafRemote
from fluxrig.bus.leaf_record import LeafRecord, Loss
from fluxrig.bus.publisher import MAX_PARCEL_BYTES, Parcel, Publisher
from fluxrig.bus.server import NatsServer
from fluxrig.bus.source_header import Source, mark_of
from fluxrig.bus.source_watch import watch_sources
from fluxrig.bus.sources import add_source, remove_source, trim_source
from fluxrig.bus.stream_files import drop_index
from fluxrig.bus.streams import (
    DEAD,
    UNS,
    LeafLimits,
    StreamState,
    ensure_hub_streams,
    ensure_leaf_streams,
    limit_hub_streams,
    mend_leaf_streams,
    record_path,
    stream_limits,
    stream_state,
)

__all__ = [
    "DEAD",
    "LEAF_PORT",
    "MAX_PARCEL_BYTES",
    "UNS",
    "Auth",
    "Bus",
    "Consumer",
    "ControlServer",
    "Credentials",
    "Hub",
    "Leaf",
    "LeafLimits",
    "LeafRecord",
    "LeafRemote",
    "Loss",
    "NatsServer",
    "Parcel",
    "Publisher",
    "Source",
    "Stored",
    "StreamState",
    "Token",
    "Trust",
    "add_source",
    "drop_index",
    "ensure_hub_streams",
    "ensure_leaf_streams",
    "limit_hub_streams",
    "mark_of",
    "mend_leaf_streams",
    "record_path",
    "remove_source",
    "stream_limits",
    "stream_state",
    "trim_source",
    "watch_sources",
]
