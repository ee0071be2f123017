"""Claims are taken only as they were signed, and say what NATS reads in them."""

import base64
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fluxrig.identity.jwt import (
    MAX_TOKEN_CHARS,
    BadJwt,
    Permissions,
    account_jwt,
    credentials,
    decode,
    encode,
    operator_jwt,
    user_jwt,
)
from fluxrig.identity.nkey import KeyPair, Kind

OPERATOR = KeyPair.create(Kind.OPERATOR)
ACCOUNT = KeyPair.create(Kind.ACCOUNT)
USER = KeyPair.create(Kind.USER)


def test_a_token_says_what_was_put_in() -> None:
    """Subject, issuer, name, end and permissions come out as they went in."""
    allowed = Permissions(("fluxrig.uns.acme.>",), ("fluxrig.ctrl.press.>",), ("$MQTT.>",))
    claims = decode(user_jwt(USER.public, "press", ACCOUNT, allowed, expires_s=2_000_000_000))
    assert (claims.subject, claims.issuer, claims.name) == (USER.public, ACCOUNT.public, "press")
    assert claims.nats["pub"] == {"allow": ["fluxrig.uns.acme.>"], "deny": ["$MQTT.>"]}
    assert claims.nats["sub"] == {"allow": ["fluxrig.ctrl.press.>"], "deny": ["$MQTT.>"]}
    assert claims.valid_at(1_999_999_999)
    assert not claims.valid_at(2_000_000_000)
    assert claims.valid_at(2_000_000_100, skew_s=600)


def test_nothing_allowed_is_all_refused() -> None:
    """To the server an empty list of what is allowed would open everything; it is written as a refusal."""
    claims = decode(user_jwt(USER.public, "mute", ACCOUNT, Permissions((), ())))
    assert claims.nats["pub"] == claims.nats["sub"] == {"deny": [">"]}


def test_operator_and_account_name_what_the_server_asks_for() -> None:
    """The system account and the users that answer for logins stand where nats-server looks for them."""
    assert decode(operator_jwt(OPERATOR, "op", ACCOUNT.public)).nats["system_account"] == ACCOUNT.public
    account = decode(account_jwt(ACCOUNT.public, "default", OPERATOR, auth_users=[USER.public]))
    assert account.nats["authorization"] == {"auth_users": [USER.public]}
    assert account.nats["limits"]["disk_storage"] == -1
    assert "authorization" not in decode(account_jwt(ACCOUNT.public, "system", OPERATOR)).nats


@given(data=st.data())
def test_an_altered_token_is_refused(data: st.DataObject) -> None:
    """Any character changed anywhere: not this token any more."""
    token = user_jwt(USER.public, "press", ACCOUNT)
    place = data.draw(st.integers(0, len(token) - 1))
    letter = data.draw(st.characters().filter(lambda letter: letter != token[place]))
    altered = token[:place] + letter + token[place + 1 :]
    try:
        claims = decode(altered)
    except BadJwt:
        return
    assert altered[:place].count(".") == 2, "only spare bits of the signature's last letter carry nothing"
    assert claims == decode(token)


def test_a_token_signed_by_another_is_refused() -> None:
    """Who writes another issuer into the claims than the key that signs is found out."""
    head, body, _ = user_jwt(USER.public, "press", ACCOUNT).split(".")
    forged = KeyPair.create(Kind.ACCOUNT).sign(f"{head}.{body}".encode())
    with pytest.raises(BadJwt, match="did not sign"):
        decode(f"{head}.{body}.{base64.urlsafe_b64encode(forged).decode().rstrip('=')}")


@pytest.mark.parametrize("header", [{"typ": "JWT", "alg": "none"}, {"alg": "ed25519-nkey"}, [], None])
def test_another_form_is_refused(header: object) -> None:
    """No other algorithm is taken, and least of all none."""
    _, body, signature = user_jwt(USER.public, "press", ACCOUNT).split(".")
    head = base64.urlsafe_b64encode(json.dumps(header).encode()).decode().rstrip("=")
    with pytest.raises(BadJwt):
        decode(f"{head}.{body}.{signature}")


@pytest.mark.parametrize(
    "claims",
    [
        {},
        {"sub": 1, "nats": {}},
        {"sub": "x", "nats": []},
        {"sub": "x", "nats": {}, "exp": "soon"},
        {"sub": "x", "nats": {}, "exp": True},
    ],
)
def test_signed_nonsense_is_refused(claims: dict[str, object]) -> None:
    """A good signature makes no sense of claims that have none."""
    with pytest.raises(BadJwt):
        decode(encode(claims, ACCOUNT))


@given(st.text())
def test_any_text_is_refused(text: str) -> None:
    """Whatever is offered as a token ends as a BadJwt."""
    with pytest.raises(BadJwt):
        decode(text)


def test_a_token_without_end_in_length_is_refused_unread() -> None:
    """What is too long is not parsed."""
    with pytest.raises(BadJwt, match="characters"):
        decode("." * (MAX_TOKEN_CHARS + 1))


def test_a_credentials_file_holds_both() -> None:
    """Token and seed, in the frame that nats-server reads."""
    token = user_jwt(USER.public, "press", ACCOUNT)
    lines = credentials(token, USER).splitlines()
    assert lines[1] == token
    assert lines[5] == USER.seed.decode()
