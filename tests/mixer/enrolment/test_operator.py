"""What operators order: done or refused with one line, and written down with who ordered it."""

import json
from pathlib import Path
from typing import Any

import pytest

from fluxrig.identity import certificates
from fluxrig.identity.address import Address
from fluxrig.identity.join import JoinToken
from mixer.enrolment.operator import Operator
from mixer.enrolment.registry import State

from .office import RACK, UNS, Edge, Office


@pytest.fixture
def operator(office: Office) -> Operator:
    pin = certificates.fingerprint(office.ca.certificate)
    return Operator(office.registry, office.tokens, office.accounts.get, office.address, pin)


async def order(operator: Operator, verb: str, **fields: Any) -> Any:
    answer = json.loads(await operator.answer("", json.dumps({"verb": verb, "by": "op", **fields}).encode()))
    return answer.get("done", answer.get("error"))


async def test_from_a_token_to_a_rack(operator: Operator, office: Office, edge: Edge) -> None:
    """Create a token, see who asks and with which key, approve that key."""
    made = await order(operator, "token-create", rack=RACK, uses=2, life_s=60)
    token = JoinToken.decode(made["token"])
    assert (token.address, token.rack, token.uns) == (office.address, RACK, "")
    assert "digest" not in made
    joining = edge.joining(token)
    await joining.ask()
    (listed,) = await order(operator, "list")
    assert (listed["state"], listed["key"]) == ("pending", "")
    assert listed["asked_key"] == joining.keys.public.fingerprint
    refused = await order(operator, "approve", rack=RACK, key="0000-0000")
    assert "it may not be the one you mean" in refused
    approved = await order(operator, "approve", rack=RACK, key=joining.keys.public.fingerprint.upper())
    assert (approved["state"], approved["decided_by"]) == ("approved", "op")
    assert approved["key"] == joining.keys.public.fingerprint
    (used,) = await order(operator, "token-list")
    assert (used["used"], used["state"], used["created_by"]) == (1, "good", "op")
    assert (await order(operator, "token-revoke", id=token.id))["state"] == "revoked"


async def test_a_racks_life(operator: Operator, office: Office, edge: Edge) -> None:
    """Suspend, resume and revoke; what makes no sense in a state says so and changes nothing."""
    await edge.join(office.token(approve=True))
    assert "waits for nothing" in await order(operator, "approve", rack=RACK)
    assert "waits for nothing" in await order(operator, "reject", rack=RACK)
    assert "not suspended" in await order(operator, "resume", rack=RACK)
    suspended = await order(operator, "suspend", rack=RACK, reason="repair")
    assert (suspended["state"], suspended["reason"]) == ("suspended", "repair")
    assert "only an approved one" in await order(operator, "suspend", rack=RACK)
    assert (await order(operator, "resume", rack=RACK))["reason"] == ""
    assert (await order(operator, "revoke", rack=RACK, reason="stolen"))["state"] == "revoked"
    assert "revoked already" in await order(operator, "revoke", rack=RACK)
    assert (await order(operator, "show", rack=RACK))["retired"][0]["why"] == "revoked"


async def test_changes_are_heard_of(operator: Operator, office: Office, edge: Edge) -> None:
    """Whoever guards the way in hears of every change, and of the state after it."""
    heard: list[State] = []
    office.registry.watch(lambda rack: heard.append(rack.state))
    await edge.join(office.token(approve=True))
    for verb in ("suspend", "resume", "revoke"):
        await order(operator, verb, rack=RACK)
    assert heard == [State.APPROVED, State.SUSPENDED, State.APPROVED, State.REVOKED]


async def test_a_revocation_holds_though_the_disk_refuses(
    operator: Operator, office: Office, edge: Edge
) -> None:
    """The operator hears that it is not written down; the Rack is out all the same."""
    await edge.join(office.token(approve=True))
    heard: list[State] = []
    office.registry.watch(lambda rack: heard.append(rack.state))
    (office.folder / "racks.json.new").mkdir()
    assert "racks.json.new" in await order(operator, "revoke", rack=RACK)
    assert heard == [State.REVOKED]


@pytest.mark.parametrize(
    ("verb", "fields", "error"),
    [
        ("show", {"rack": "nobody"}, "there is no Rack nobody; see mixer racks list"),
        ("show", {"rack": "nobody", "project": "p"}, "there is no Rack nobody in project p"),
        ("token-create", {"project": "none"}, "there is no project none"),
        ("token-create", {"rack": "Press 3"}, "a Rack's name has up to 32"),
        ("token-create", {"rack": "hub"}, "a Rack can't be called 'hub'"),
        ("token-create", {"uns": "a//b"}, "a UNS segment is empty"),
        ("token-create", {"uses": 0}, "uses"),
        ("token-create", {"life_s": -1}, "life_s"),
        ("token-revoke", {"id": "none"}, "there is no join token none"),
        ("explode", {}, "verb"),
        ("list", {"unknown": 1}, "unknown"),
    ],
)
async def test_orders_that_make_no_sense(operator: Operator, verb: str, fields: Any, error: str) -> None:
    """One line says what is wrong, whatever was asked."""
    assert error in await order(operator, verb, **fields)


async def test_garbage_is_answered(operator: Operator) -> None:
    """Bytes that are no order get an error, too."""
    for payload in (b"", b"\xff", b"[]", b'{"verb": null}'):
        assert json.loads(await operator.answer("", payload))["error"]


async def test_racks_of_all_projects(operator: Operator, office: Office, edge: Edge, tmp_path: Path) -> None:
    """One project is listed, or all; the same name in two projects is two Racks."""
    await edge.join(office.token(approve=True))
    await Edge(tmp_path / "other").join(office.token(approve=True, project="other"))
    assert [one["project"] for one in await order(operator, "list")] == ["default"]
    assert [one["project"] for one in await order(operator, "list", project="")] == ["default", "other"]
    assert (await order(operator, "show", rack=RACK, project="other"))["uns"] == UNS


async def test_a_token_for_another_address(operator: Operator, office: Office) -> None:
    """Behind a port forwarding Racks dial another address than the Mixer listens on."""
    made = await order(operator, "token-create", address="plant.example:9000")
    assert JoinToken.decode(made["token"]).address == Address("plant.example", 9000)
    made = await order(operator, "token-create", address="plant.example")
    assert JoinToken.decode(made["token"]).address == Address("plant.example", office.address.port)
