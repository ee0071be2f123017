"""Which subjects a Rack may use in its project's account. All others are refused by the hub, each way.

A Rack's data is not among what it may publish: the hub's streams take it from the leaf's, through the
subjects below `deliver`. Of what nats-server passes unasked (server/leafnode.go, leafMsgAllowed), `_R_`
leads nowhere here, and `$JS.ACK` reaches only consumers whose names nobody else knows.
"""

from __future__ import annotations

from typing import Final

from fluxrig.identity.jwt import Permissions, user_jwt
from fluxrig.identity.nkey import KeyPair

MAX_PAYLOAD_BYTES: Final = 4 << 20
"""Of one NATS message in a project. A Rack's are far smaller; the Mixer tells a stream of all its sources."""
MAX_SUBSCRIPTIONS: Final = 1000
"""Of one connection in a project."""
_STREAMS: Final = ("UNS", "DEAD")
_MQTT: Final = ("$MQTT.>",)  # which leaves may use unless it is forbidden


def claims(user: str, rack: str, uns: str, account: KeyPair, *, expires_s: int, signed_for: str = "") -> str:
    """Sign what lets the key `user` in as a Rack's leaf, with its rights, until `expires_s` (Unix time).

    `signed_for`: the account's public key, where `account` is only one of its signing keys.
    """
    return user_jwt(
        user,
        rack,
        account,
        rights(rack, uns, elsewhere=bool(signed_for)),
        expires_s=expires_s,
        connections=["LEAFNODE"],
        max_payload=MAX_PAYLOAD_BYTES,
        max_subscriptions=MAX_SUBSCRIPTIONS,
        signed_for=signed_for,
    )


def rights(rack: str, uns: str, *, elsewhere: bool = False) -> Permissions:
    """Give what a Rack with the prefix `uns` (a UNS path) may publish and subscribe.

    `elsewhere`: on servers of others, which may ask leaves without their names (docs/external-nats.md).
    """
    prefix = uns.replace("/", ".")
    return Permissions(
        publish=(
            f"fluxrig.live.{prefix}",
            f"fluxrig.live.{prefix}.>",
            f"fluxrig.mixer.{rack}.>",  # asks the Mixer
            f"_INBOX.mixer.{rack}.>",  # answers it
            f"deliver.{rack}.>",  # what the hub's streams take
            f"$JSC.R.{rack}.>",  # answers the hub's streams
            *(("$JSC.R.*",) if elsewhere else ()),
        ),
        subscribe=(
            f"fluxrig.ctrl.{rack}.>",
            f"_INBOX.{rack}.>",
            f"$JS.{rack}.API.>",
            *(f"$JS.FC.{stream}.>" for stream in _STREAMS),  # how fast the hub takes
        ),
        refused=_MQTT,
    )
