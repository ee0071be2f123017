"""Who comes in at the leaf port: every wrong half of an identity, and every wrong whole."""

from __future__ import annotations

import re
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import replace
from functools import partial
from typing import Any, TypeAlias

import pytest
import pytest_asyncio

from fluxrig.bus import LeafRemote
from fluxrig.identity import certificates
from fluxrig.identity.jwt import credentials, user_jwt
from fluxrig.identity.keys import Keys
from fluxrig.identity.nkey import KeyPair, Kind

from .plant import OTHER, Plant, plant
from .raw_leaf import RawLeaf, Refused, raw_leaf

pytestmark = pytest.mark.asyncio(loop_scope="module")

Dial: TypeAlias = Callable[[], AbstractAsyncContextManager[RawLeaf]]
Attempt: TypeAlias = Callable[[Plant], Dial]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def site(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Plant]:
    async with plant(tmp_path_factory.mktemp("plant"), "mallory") as one:
        yield one


def no_certificate(site: Plant) -> Dial:
    remote = site.remote("mallory")
    return partial(raw_leaf, remote, "mallory", tls=ssl.create_default_context(cafile=remote.ca))


def another_authority(site: Plant) -> Dial:
    box = site.enrol("forged")
    site.office.issue(box, Keys.create(), ca=certificates.make_ca("another"))
    return partial(raw_leaf, site.remote("forged"), "forged")


def same_name_of_authority(site: Plant) -> Dial:
    box = site.enrol("twin")
    named = certificates.make_ca(site.office.authority.ca.certificate.subject.rfc4514_string()[3:])
    site.office.issue(box, Keys.create(), ca=named)
    return partial(raw_leaf, site.remote("twin"), "twin")


def expired(site: Plant) -> Dial:
    box = site.box("late")
    site.office.registry = site.centre.registry
    site.office.enrol(box, life_s=-5)
    return partial(raw_leaf, site.remote("late"), "late")


def old_tls(site: Plant) -> Dial:
    remote = site.remote("mallory")
    context = ssl.create_default_context(cafile=remote.ca)
    context.load_cert_chain(remote.certificate, remote.key)
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    return partial(raw_leaf, remote, "mallory", tls=context)


def never_enrolled(site: Plant) -> Dial:
    site.office.issue(site.box("nobody"), Keys.create())
    return partial(raw_leaf, site.remote("nobody"), "nobody")


def in_state(name: str, change: Callable[[Any, Any], None]) -> Attempt:
    def attempt(site: Plant) -> Dial:
        site.enrol(name)
        rack = site.centre.registry.find("default", name)
        change(site.centre.registry, rack)
        return partial(raw_leaf, site.remote(name), name)

    return attempt


def other_keys(site: Plant) -> Dial:
    """What was issued for keys that an operator never approved."""
    site.office.issue(site.enrol("rekeyed"), Keys.create())
    return partial(raw_leaf, site.remote("rekeyed"), "rekeyed")


def stolen_credentials(site: Plant) -> Dial:
    site.enrol("thief")
    return partial(raw_leaf, site.remote("thief"), "thief", credentials=site.remote("good").credentials)


def stolen_certificate(site: Plant) -> Dial:
    site.enrol("burglar")
    remote = replace(site.remote("good"), credentials=site.remote("burglar").credentials)
    return partial(raw_leaf, remote, "good")


def claims_without_key(site: Plant) -> Dial:
    return _with_claims(site, "keyless", lambda jwt, _: credentials(jwt, KeyPair.create(Kind.USER)))


def claims_of_nobody(site: Plant) -> Dial:
    """Claims that a stranger's account has issued."""
    account = KeyPair.create(Kind.ACCOUNT)
    return _with_claims(
        site, "selfmade", lambda _, key: credentials(user_jwt(key.public, "selfmade", account), key)
    )


def claims_expired(site: Plant) -> Dial:
    account = site.office.authority.projects["default"]
    return _with_claims(
        site, "stale", lambda _, key: credentials(user_jwt(key.public, "stale", account, expires_s=1), key)
    )


def other_project(site: Plant) -> Dial:
    """A certificate of one project, and claims of the same name in another."""
    remote = replace(site.remote("mallory"), credentials=site.remote("mallory", OTHER).credentials)
    return partial(raw_leaf, remote, "mallory")


def neighbours_server_name(site: Plant) -> Dial:
    return partial(raw_leaf, site.remote("mallory"), "good")


def nothing_shown(site: Plant) -> Dial:
    site.enrol("mute")
    return partial(raw_leaf, site.remote("mute"), "mute", jwt="", sig="")


def a_client(site: Plant) -> Dial:
    site.enrol("client")
    return partial(raw_leaf, site.remote("client"), "client", lang="python")


def _with_claims(site: Plant, name: str, change: Callable[[str, KeyPair], str]) -> Dial:
    box = site.box(name)
    site.office.registry = site.centre.registry
    keys = site.office.enrol(box)
    remote: LeafRemote = site.remote(name)
    jwt = remote.credentials.read_text().splitlines()[1]
    remote.credentials.write_text(change(jwt, keys.nats))
    return partial(raw_leaf, remote, name)


@pytest.mark.parametrize(
    ("attempt", "said"),
    [
        (no_certificate, "127.0.0.1: no TLS: client didn't provide a certificate"),
        (another_authority, "127.0.0.1: no TLS: .*signed by unknown authority.*"),
        (same_name_of_authority, "127.0.0.1: no TLS: .*"),
        (expired, "127.0.0.1: no TLS: .*expired.*"),
        (old_tls, "127.0.0.1: no TLS: client offered only unsupported versions.*"),
        (never_enrolled, "Rack nobody .*: no Rack of this name is enrolled"),
        (in_state("revoked", lambda r, one: r.revoke(one, "test")), "Rack revoked .*: .*revoked.*"),
        (in_state("halted", lambda r, one: r.suspend(one, "test")), "Rack halted .*: .*suspended.*"),
        (other_keys, "Rack rekeyed .*: .*key.*"),
        (stolen_credentials, "Rack thief .*: it shows the credentials of Rack good"),
        (stolen_certificate, "Rack good .*: it shows the credentials of Rack burglar"),
        (other_project, "Rack mallory .*: it is of project default, and shows credentials for other"),
        (neighbours_server_name, "Rack mallory .*: its leaf calls itself 'good'"),
        (a_client, "Rack client .*: a client, and only leaves may come in"),
    ],
)
async def test_who_is_not_a_rack_of_ours_stays_out(site: Plant, attempt: Attempt, said: str) -> None:
    """Refused each time, told once with who and why, and the good Rack goes on."""
    dial = attempt(site)
    for _ in range(2):
        with pytest.raises(Refused):
            async with dial():
                pass
    assert re.fullmatch(f"refused a Rack from {said}", await site.refusal())
    await site.undisturbed()
    assert site.nothing_said()


async def test_claims_that_prove_nothing_open_nothing(site: Plant) -> None:
    """Without their key, of a stranger's account, expired, or none at all: refused, and told once."""
    for attempt in (claims_without_key, claims_of_nobody, claims_expired, nothing_shown):
        with pytest.raises(Refused):
            async with attempt(site)():
                pass
    assert await site.refusal() == "refused a Rack from 127.0.0.1: its credentials are no good"
    await site.undisturbed()
    assert site.nothing_said()
