"""Keys are NATS's keys, in the one text that they have, and give their secret to nobody who does not ask."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fluxrig.errors import IdentityError
from fluxrig.identity.nkey import KeyPair, Kind, kind_of, verify

KNOWN_SEED = b"SUACSSL3UAHUDXKFSNVUZRF5UHPMWZ6BFDTJ7M6USDXIEDNPPQYYYCU3VY"
KNOWN_PUBLIC = "UDXU4RCSJNZOIQHZNWXHXORDPRTGNJAHAHFRGZNEEJCPQTT2M7NLCNF4"


def test_the_pair_that_the_nats_documentation_shows() -> None:
    """A seed and its public key, known from NATS's own documentation, belong together here too."""
    pair = KeyPair.from_seed(KNOWN_SEED + b"\n")
    assert (pair.kind, pair.public, pair.seed) == (Kind.USER, KNOWN_PUBLIC, KNOWN_SEED)


@pytest.mark.parametrize(
    ("kind", "letter"),
    [(Kind.OPERATOR, "O"), (Kind.ACCOUNT, "A"), (Kind.USER, "U"), (Kind.SERVER, "N")],
)
def test_a_pair_survives_its_text(kind: Kind, letter: str) -> None:
    """What is written of a key is read back as the same key, and its first letters tell the kind."""
    pair = KeyPair.create(kind)
    again = KeyPair.from_seed(pair.seed)
    assert (again.kind, again.public, again.seed) == (kind, pair.public, pair.seed)
    assert pair.public[0] == letter
    assert pair.seed[:2].decode() == f"S{letter}"
    assert kind_of(pair.public) is kind


def test_what_is_signed_is_checked() -> None:
    """A signature holds for its data and its key alone; a cut one is no signature, and no error."""
    pair, other = KeyPair.create(Kind.USER), KeyPair.create(Kind.USER)
    signature = pair.sign(b"nonce")
    assert verify(pair.public, b"nonce", signature)
    assert not verify(pair.public, b"nance", signature)
    assert not verify(other.public, b"nonce", signature)
    assert not verify(pair.public, b"nonce", signature[:-1])


@given(place=st.integers(0, 55), letter=st.sampled_from("ABCDEFGHIJKLMNOPQRSTUVWXYZ234567"))
def test_a_mistyped_key_is_told(place: int, letter: str) -> None:
    """One wrong letter anywhere makes it no key."""
    wrong = KNOWN_PUBLIC[:place] + letter + KNOWN_PUBLIC[place + 1 :]
    if wrong != KNOWN_PUBLIC:
        with pytest.raises(IdentityError):
            kind_of(wrong)


@given(st.text(max_size=70))
def test_any_text_is_a_key_or_refused(text: str) -> None:
    """Whatever is offered as a key ends as a key or as an IdentityError."""
    for read in (kind_of, lambda text: KeyPair.from_seed(text.encode())):
        with pytest.raises(IdentityError):
            read(text)


def test_the_seed_is_not_shown() -> None:
    """Neither what Python prints of a pair nor what it says of a bad seed holds the secret."""
    pair = KeyPair.create(Kind.USER)
    assert pair.seed.decode() not in f"{pair!r} {pair}"
    damaged = pair.seed[:-1] + (b"A" if pair.seed[-1:] != b"A" else b"B")
    with pytest.raises(IdentityError) as refused:
        KeyPair.from_seed(damaged)
    assert pair.seed[4:20].decode() not in str(refused.value)
