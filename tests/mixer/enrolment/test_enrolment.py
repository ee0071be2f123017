"""Enrolment over real connections: who is let in, who is not, and what both sides then have."""

import asyncio
import os
import time
from pathlib import Path

import pytest

from fluxrig.errors import IdentityError
from fluxrig.identity import certificates, jwt
from fluxrig.identity.enrol import Answer, Unreachable, Untrusted
from fluxrig.identity.folder import Identity
from fluxrig.identity.join import JoinToken
from fluxrig.identity.joining import Refused, refresh, renewal, renewed
from mixer.enrolment.registry import Registry, State
from mixer.enrolment.tokens import Tokens

from .office import RACK, UNS, Edge, Office, opened


def refusals(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [text for text in caplog.messages if text.startswith("refused")]


async def test_a_self_approving_token_lets_a_rack_in(office: Office, edge: Edge) -> None:
    """Keys made on the Rack, certificate and JWT that name it, and files that only their owner reads."""
    identity = await edge.join(office.token(approve=True))
    assert edge.folder.load() == identity
    assert (identity.project, identity.rack, identity.uns, identity.leaf_port) == ("default", RACK, UNS, 7422)
    certificate = certificates.certificate_from_pem(identity.tls_pem.read_bytes())
    assert certificates.issued_by(office.ca.certificate, certificate)
    assert certificates.rack_name(certificate) == certificates.RackName("default", RACK)
    claims = jwt.decode(identity.credentials.read_text().split("\n")[1])
    assert claims.issuer == office.accounts["default"].public
    assert claims.subject == identity.keys().nats.public
    assert claims.expires_s == int(identity.expires_s)
    assert office.registry.objection("default", RACK, identity.keys().public) == ""
    modes = {path.name: path.stat().st_mode & 0o777 for path in identity.folder.iterdir()}
    assert set(modes.values()) == {0o600}, modes
    assert identity.folder.stat().st_mode & 0o777 == 0o700


async def test_the_mixer_never_sees_or_keeps_a_secret_of_the_rack(office: Office, edge: Edge) -> None:
    """Nothing in the Mixer's folder, nor its log, holds a private key or the token's secret."""
    token = office.token(approve=True)
    identity = await edge.join(token)
    kept = b"".join(path.read_bytes() for path in office.folder.glob("*.json"))
    for secret in (identity.keys().nats.seed, token.secret.hex().encode(), token.encode().encode()):
        assert secret not in kept
    assert b"PRIVATE" not in kept


async def test_a_rack_waits_for_the_operator(office: Office, edge: Edge) -> None:
    """Until the operator has compared the keys and said yes there is nothing; then it comes by itself."""
    joining = edge.joining(office.token())
    said: list[str] = []
    async with asyncio.timeout(10):
        waiting = asyncio.create_task(joining.wait(said.append))
        while not said:  # noqa: ASYNC110 - what is waited for is in another task
            await asyncio.sleep(0.01)
        rack = office.rack()
        assert (rack.state, rack.keys) == (State.PENDING, None)
        assert rack.asked is not None
        assert rack.asked.keys.fingerprint == joining.keys.public.fingerprint
        assert said == [
            f"waiting for the operator to let in Rack {RACK} with key {rack.asked.keys.fingerprint}: "
            f"mixer racks approve {RACK}"
        ]
        assert edge.folder.load() is None
        office.registry.approve(rack, "op")
        identity = await waiting
    assert identity.keys().public == office.rack().keys
    assert (office.rack().state, office.rack().decided_by) == (State.APPROVED, "op")


async def test_asking_can_be_broken_off_and_taken_up(office: Office, edge: Edge) -> None:
    """The same keys ask again after Ctrl-C, and the token's only use is not counted twice."""
    token = office.token()
    first = edge.joining(token)
    assert isinstance(await first.ask(), Answer)
    again = edge.joining(token)
    assert again.keys.public == first.keys.public
    assert isinstance(await again.ask(), Answer)
    assert [one.used for one in office.tokens.list(time.time())] == [1]
    office.registry.approve(office.rack(), "op")
    assert isinstance(await again.ask(), Identity)


async def test_a_rejected_rack_hears_so_and_can_ask_anew(office: Office, edge: Edge) -> None:
    """No is no for these keys; with a new token the Rack makes new ones."""
    joining = edge.joining(office.token())
    await joining.ask()
    office.registry.reject(office.rack(), "op", "unknown site")
    with pytest.raises(Refused, match=r"the operator rejected these keys of Rack .* \(unknown site\)"):
        await joining.ask()
    identity = await edge.join(office.token(approve=True))
    assert identity.keys().public != joining.keys.public


async def test_a_token_is_good_for_its_uses(
    office: Office, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Reused beyond that it is refused, and the log says once who and why."""
    token = office.token(approve=True, uses=2)
    for n in range(2):
        await Edge(tmp_path / f"{n}").join(token, rack=f"rack-{n}", uns=f"acme/{n}")
    for _ in range(3):
        with pytest.raises(Refused, match="is used up; ask the operator for a new one"):
            await Edge(tmp_path / "late").join(token, rack="late", uns="acme/late")
    assert len(refusals(caplog)) == 1
    assert "127.0.0.1 (Rack late): the join token" in refusals(caplog)[0]
    assert office.registry.find("default", "late") is None


@pytest.mark.parametrize("how", ["expired", "revoked"])
async def test_a_token_that_is_over_is_refused(
    office: Office, edge: Edge, caplog: pytest.LogCaptureFixture, how: str
) -> None:
    """An expired and a revoked token say so to the Rack and, once, in the log."""
    token = office.token(approve=True, life_s=-1 if how == "expired" else 60)
    if how == "revoked":
        office.tokens.revoke(token.id)
    for _ in range(2):
        with pytest.raises(Refused, match=f"the join token {token.id} is {how}"):
            await edge.join(token)
    assert len(refusals(caplog)) == 1
    assert office.registry.all() == []


async def test_guesses_are_limited(office: Office, edge: Edge, caplog: pytest.LogCaptureFixture) -> None:
    """After five wrong secrets an address is not even listened to; the log says so once."""
    token = office.token(approve=True)
    for _ in range(5):
        guess = JoinToken(token.address, token.ca, token.id, os.urandom(16))
        with pytest.raises(Refused, match="not one of this Mixer's"):
            await edge.joining(guess).ask()
    for _ in range(20):
        with pytest.raises(Unreachable):
            await edge.joining(token).ask()
    assert [text.partition(": ")[2] for text in refusals(caplog)] == [
        "the join token is not one of this Mixer's",
        "too many failed tries",
    ]
    assert office.registry.all() == []


@pytest.mark.parametrize(
    ("chosen", "reason"),
    [
        ({"rack": "other"}, "the join token is for Rack other, not press-line-3"),
        ({"uns": "acme/paris"}, "the join token is for acme/paris, not acme/lyon/press"),
        ({"uns": "acme/lyon/press/tool"}, "the join token is for acme/lyon/press/tool, not"),
        ({"project": "gone"}, "there is no project gone"),
    ],
)
async def test_a_token_is_for_what_it_says(office: Office, edge: Edge, chosen: dict, reason: str) -> None:
    """A token for another Rack, another part of the UNS or a project that is no more lets nobody in."""
    with pytest.raises(Refused, match=reason):
        await edge.join(office.token(approve=True, **chosen))
    assert office.registry.all() == []


async def test_a_token_may_leave_the_rack_a_choice(office: Office, edge: Edge) -> None:
    """The Rack's own path below the token's prefix is what it gets."""
    identity = await edge.join(office.token(approve=True, rack=RACK, uns="acme"))
    assert identity.uns == office.rack().uns == UNS


async def test_a_path_belongs_to_one_rack(office: Office, edge: Edge, tmp_path: Path) -> None:
    """A path above, at or below another Rack's is refused in its project, and free in another."""
    await edge.join(office.token(approve=True))
    for n, uns in enumerate(["acme", UNS, f"{UNS}/tool"]):
        with pytest.raises(Refused, match=f"overlaps {UNS}, which belongs to Rack {RACK}"):
            await Edge(tmp_path / f"{n}").join(office.token(approve=True), rack="second", uns=uns)
    await Edge(tmp_path / "n").join(office.token(approve=True), rack="neighbour", uns=f"{UNS}-2")
    elsewhere = office.token(approve=True, project="other")
    assert (await Edge(tmp_path / "o").join(elsewhere)).project == "other"


async def test_a_name_is_taken_by_its_keys(office: Office, edge: Edge, tmp_path: Path) -> None:
    """A token for anyone does not give a Rack's name to other keys; one for that Rack replaces them."""
    old = (await edge.join(office.token(approve=True))).keys()
    other = Edge(tmp_path / "other")
    with pytest.raises(Refused, match=f"mixer join-token create --rack {RACK}"):
        await other.join(office.token(approve=True))
    joining = other.joining(office.token(rack=RACK))
    await joining.ask()
    assert office.registry.objection("default", RACK, old.public) == ""  # until the operator says yes
    office.registry.approve(office.rack(), "op")
    assert isinstance(await joining.ask(), Identity)
    assert office.registry.objection("default", RACK, old.public) == "its keys were replaced"


async def test_keys_keep_their_name(office: Office, edge: Edge) -> None:
    """A Rack can't be renamed with its keys, nor moved to another path: it hears what to do."""
    identity = await edge.join(office.token(approve=True))
    with pytest.raises(IdentityError, match="holds the identity of Rack press-line-3"):
        edge.joining(office.token(), rack="renamed")
    office.registry.seen(office.rack(), version="1", leaves={"UNS": "a"})
    with pytest.raises(Refused, match="is enrolled for acme/lyon/press, not for acme/paris"):
        await refresh(edge.folder, identity, "acme/paris")
    with pytest.raises(Refused, match="has sent data below acme/lyon/press"):
        await edge.join(office.token(rack=RACK), uns="acme/paris", new_keys=True)


async def test_a_revoked_rack_comes_back_with_new_keys_alone(office: Office, edge: Edge) -> None:
    """Its old keys are never taken again, not even with a new token."""
    identity = await edge.join(office.token(approve=True))
    old = identity.keys().public
    office.registry.revoke(office.rack(), "op", "stolen")
    with pytest.raises(Refused, match="were revoked") as refused:
        await refresh(edge.folder, identity, UNS)
    assert refused.value.code == "keys-revoked"
    token = office.token(approve=True, rack=RACK)
    with pytest.raises(Refused, match="were revoked"):
        await edge.join(token)
    again = await edge.join(token, new_keys=True)
    assert again.keys().public != old
    assert office.rack().state is State.APPROVED
    assert office.registry.objection("default", RACK, old) == "its keys were revoked"


async def test_a_path_may_be_corrected_before_it_was_used(office: Office, edge: Edge) -> None:
    """As long as nothing was sent below it, a revoked Rack can be enrolled for another path."""
    await edge.join(office.token(approve=True), uns="acme/typo")
    office.registry.revoke(office.rack(), "op")
    assert (await edge.join(office.token(approve=True, rack=RACK), new_keys=True)).uns == UNS
    assert office.rack().uns == UNS


async def test_a_suspended_rack_waits_outside(office: Office, edge: Edge) -> None:
    """Suspended it gets no certificate and hears why; resumed it is let in with the same keys."""
    identity = await edge.join(office.token(approve=True))
    office.registry.suspend(office.rack(), "op", "under repair")
    with pytest.raises(Refused, match=r"is suspended \(under repair\)"):
        await refresh(edge.folder, identity, UNS)
    with pytest.raises(Refused, match="is suspended"):  # nor around it with other keys
        await edge.join(office.token(approve=True, rack=RACK), new_keys=True)
    office.registry.resume(office.rack(), "op")
    assert (await refresh(edge.folder, identity, UNS)).keys().public == identity.keys().public


async def test_a_rack_that_slept_past_its_end_comes_back_with_its_old_key(office: Office, edge: Edge) -> None:
    """However long ago its certificate ended: the keys are what it is known by."""
    office.certificates_live(-300)
    identity = await edge.join(office.token(approve=True))
    assert identity.expires_s < time.time() - 299
    office.certificates_live(3600)
    again = await refresh(edge.folder, identity, UNS)
    assert again.keys().public == identity.keys().public
    assert again.expires_s > time.time() + 3500


async def test_a_certificate_is_renewed_for_the_same_keys_alone(office: Office, edge: Edge) -> None:
    """Over the Snake the name is proven by the subject; other keys, and a Rack that is out, get nothing."""
    identity = await edge.join(office.token(approve=True))
    answer = office.desk.renew("default", RACK, renewal(identity))
    newer = renewed(edge.folder, identity, answer)
    assert newer.tls_pem.read_text() == answer.certificate
    assert edge.folder.load() == newer
    for project, rack in (("other", RACK), ("default", "neighbour")):
        assert office.desk.renew(project, rack, renewal(identity)).state == "refused"
    assert office.desk.renew("default", RACK, b"garbage").state == "refused"
    office.registry.suspend(office.rack(), "op")
    assert office.desk.renew("default", RACK, renewal(identity)).error == "it is suspended"


async def test_what_was_decided_survives_a_restart(office: Office, edge: Edge) -> None:
    """Racks, states, keys and the uses of tokens are on disk when the answer is given."""
    token = office.token(approve=True, rack=RACK)
    await edge.join(token)
    office.registry.suspend(office.rack(), "op")
    assert Registry(office.folder / "racks.json").all() == office.registry.all()
    with pytest.raises(Exception, match="is used up"):
        Tokens(office.folder / "tokens.json").check(token.id, token.secret, time.time())


async def test_times_are_good_for_clocks_some_minutes_off(office: Office, edge: Edge) -> None:
    """What a Rack gets is valid from ten minutes ago."""
    identity = await edge.join(office.token(approve=True))
    start = certificates.certificate_from_pem(identity.tls_pem.read_bytes()).not_valid_before_utc
    assert start.timestamp() <= time.time() - 599


async def test_a_clock_that_is_far_behind_is_told(
    tmp_path: Path, edge: Edge, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A server whose certificate has not begun, as a Rack an hour behind sees it: the clock is named."""
    issue = certificates.issue_server
    monkeypatch.setattr(certificates, "issue_server", lambda *given: issue(*given, skew_s=-3600))
    async with opened(tmp_path / "mixer") as office:
        with pytest.raises(Untrusted, match=r"by this machine's clock .* set the clock"):
            await edge.joining(office.token(approve=True)).ask()
        assert office.registry.all() == []
