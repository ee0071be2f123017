"""Join tokens: one string that is whole or refused, and never shows its secret."""

import io
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fluxrig.errors import IdentityError
from fluxrig.identity.address import Address
from fluxrig.identity.join import BadJoinToken, JoinToken, find

TOKEN = JoinToken(Address("mixer.acme.example", 7423), "ab" * 32, "01" * 6, b"s" * 16, "press", "acme/lyon")


@given(
    st.sampled_from(["mixer", "10.0.0.1", "fd00::1"]),
    st.integers(1, 65535),
    st.binary(min_size=54, max_size=54),
    st.sampled_from(["", "press-3"]),
    st.sampled_from(["", "acme/lyon"]),
)
def test_what_is_written_is_read(host: str, port: int, noise: bytes, rack: str, uns: str) -> None:
    """Any token survives being a string, white space around it included."""
    token = JoinToken(Address(host, port), noise[:32].hex(), noise[32:38].hex(), noise[38:], rack, uns)
    assert JoinToken.decode(f" {token.encode()}\n") == token


@given(st.integers(0, len(TOKEN.encode()) - 1), st.sampled_from("Ab0-_.x\n "))
def test_a_mistyped_token_is_told(place: int, char: str) -> None:
    """One wrong character anywhere is refused before anything is sent, without repeating the token."""
    text = TOKEN.encode()
    wrong = text[:place] + char + text[place + 1 :]
    if wrong.strip() != text:
        with pytest.raises(BadJoinToken) as told:
            JoinToken.decode(wrong)
        assert wrong[20:30] not in str(told.value)


@given(st.integers(0, len(TOKEN.encode()) - 1))
def test_a_cut_token_is_told(length: int) -> None:
    """Whatever is missing at its end."""
    with pytest.raises(BadJoinToken):
        JoinToken.decode(TOKEN.encode()[:length])


@given(
    st.text(max_size=300) | st.text("abcdefgh.-_", max_size=300).map(lambda rest: f"fluxrig-join-1.{rest}")
)
def test_no_other_text_is_a_token(text: str) -> None:
    """Whatever is given instead: one error that says what to do."""
    with pytest.raises(BadJoinToken):
        JoinToken.decode(text)


def test_the_secret_does_not_show() -> None:
    """Neither in a log line nor in the representation that an error might print."""
    for shown in (str(TOKEN), repr(TOKEN)):
        assert "ssss" not in shown


def test_where_a_token_comes_from(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The string itself, a private file, standard input, or the environment."""
    text = TOKEN.encode()
    file = tmp_path / "join.token"
    file.write_text(text + "\n")
    file.chmod(0o600)
    monkeypatch.setattr("sys.stdin", io.StringIO(text + "\n"))
    monkeypatch.setenv("FLUXRIG_JOIN", text)
    for given_ in (text, str(file), "-", None):
        assert JoinToken.decode(find(given_)) == TOKEN


def test_a_file_that_others_can_read_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """And one that is missing, or no file, says so in one line."""
    file = tmp_path / "join.token"
    file.write_text(TOKEN.encode())
    file.chmod(0o604)
    with pytest.raises(BadJoinToken, match="run chmod 600"):
        find(str(file))
    with pytest.raises(BadJoinToken, match="no such file"):
        find(str(tmp_path / "missing"))
    with pytest.raises(BadJoinToken, match="neither a join token nor a file"):
        find(str(tmp_path))
    with pytest.raises(BadJoinToken, match="no join token at"):
        find("a\0b")
    monkeypatch.delenv("FLUXRIG_JOIN", raising=False)
    with pytest.raises(BadJoinToken, match="set FLUXRIG_JOIN"):
        find(None)


@pytest.mark.parametrize(
    "text", ["", ":7423", "host", "host:0", "host:65536", "a b:1", "[::1:1", "http://a:1"]
)
def test_addresses_that_are_none(text: str) -> None:
    """What is not host:port is refused as a whole."""
    with pytest.raises(ValueError, match="is not host:port"):
        Address.parse(text)


def test_addresses() -> None:
    """A port may be left out where there is a usual one; IPv6 is written in brackets."""
    assert Address.parse("mixer", 7423) == Address("mixer", 7423)
    assert str(Address.parse("[fd00::1]:9")) == "[fd00::1]:9"
    assert issubclass(BadJoinToken, IdentityError)
