"""Anyone with the public key can check that a message is in the store, and no changed proof passes."""

import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from fluxrig.cli import console, main, mixer
from fluxrig.codec import decode, encode
from fluxrig.errors import AuditError, FluxrigError
from fluxrig.evidence import Proof, PublicKeys, SigningKey
from mixer.audit.origin import Marks
from mixer.audit.prove import prove
from mixer.audit.store import AuditStore
from mixer.audit.tabulate import tabulate

from .stream import NOON_NS, message, run_of, stored


@pytest.fixture
def audit(store: AuditStore) -> Path:
    """Two commits, of twelve and of seven messages."""
    marks = Marks()
    store.commit("UNS", "2026-11-21", tabulate("UNS", run_of(1, 4), marks))
    items = [*run_of(5, 2), stored(7, [message(18)], 18)]
    store.commit("UNS", "2026-11-21", tabulate("UNS", items, marks))
    return store.folder


def uuid(number: int) -> str:
    return f"00000000-0000-0000-0000-{number:012x}"


def keys(audit: Path) -> PublicKeys:
    return PublicKeys.load([audit.parent / "signing.pub"])


def test_every_message_has_a_proof_that_holds(audit: Path) -> None:
    """Whichever row it is, in a tree of any shape, the proof gives the message and its place."""
    for number in range(19):
        (proof,) = prove(audit, uuid(number))
        proven = Proof.parse(proof.text()).check(keys(audit))
        assert proven.message == message(number)
        assert (proven.place[3], proven.place[4]) == ("leaf-a", number)
        assert proven.commit == (1 if number < 12 else 2)


def _set(name: str, value: Any) -> Callable[[dict[str, Any]], None]:
    return lambda proof: proof.__setitem__(name, value)


def _line(old: str, new: str) -> Callable[[dict[str, Any]], None]:
    return lambda proof: proof.__setitem__("line", proof["line"].replace(old, new))


@pytest.mark.parametrize(
    "tamper",
    [
        _set("message", encode(message(4, {"n": 5})).hex()),
        _set("message", "a0"),
        _set("message", "zz"),
        _set("place", ["UNS", 2, 0, "leaf-a", 4]),
        _set("place", []),
        _set("position", 5),
        _set("position", -1),
        _set("position", 99),
        _set("size", 11),
        _set("path", []),
        _set("file", "messages/other.parquet"),
        _line('"rows":12', '"rows":13'),
        _line('"at":"20', '"at":"19'),
        _line('"signature":"', '"signature":"00'),
        _set("line", "{}"),
        _set("line", None),
        lambda proof: proof["path"].append("00" * 32),
        lambda proof: proof["path"].reverse(),
    ],
)
def test_a_changed_proof_does_not_hold(audit: Path, tamper: Callable[[dict[str, Any]], None]) -> None:
    """Change any part of it, and it breaks with one line that says where."""
    (proof,) = prove(audit, uuid(4))
    fields = json.loads(proof.text())
    tamper(fields)
    with pytest.raises(FluxrigError, match="the proof does not hold") as caught:
        Proof.parse(json.dumps(fields)).check(keys(audit))
    assert "\n" not in str(caught.value)


def test_another_key_does_not_check(audit: Path, tmp_path: Path) -> None:
    """A proof holds for whoever trusts the key that signed, and for nobody else."""
    SigningKey.of(tmp_path / "other")
    (proof,) = prove(audit, uuid(4))
    with pytest.raises(FluxrigError, match="signature"):
        proof.check(PublicKeys.load([tmp_path / "other" / "signing.pub"]))


@pytest.mark.parametrize("text", ["", "{", "[]", "null", "[" * 100_000, '{"fluxrig_proof":1,"x":2}'])
def test_what_is_no_proof_is_called_that(text: str) -> None:
    """Anything else gets one line."""
    with pytest.raises(FluxrigError, match="no proof"):
        Proof.parse(text)


@pytest.mark.parametrize("wanted", [uuid(99), "nonsense"])
def test_an_unknown_id_is_said_so(audit: Path, wanted: str) -> None:
    """No row, no proof."""
    with pytest.raises(AuditError):
        next(prove(audit, wanted))


def test_a_changed_file_gives_no_proof(audit: Path) -> None:
    """Rather than a proof that fails elsewhere, the folder's own fault is named."""
    (_, other) = sorted((audit / "messages").rglob("*.parquet"))
    table = pq.ParquetFile(other).read()
    edited = pa.array([NOON_NS - 1] * table.num_rows, table.schema.field("received").type)
    pq.write_table(table.set_column(table.schema.get_field_index("received"), "received", edited), other)
    with pytest.raises(AuditError, match="verify"):
        next(prove(audit, uuid(14)))


def test_the_commands_work_together(audit: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """What `mixer audit prove` prints, `fluxrig verify-proof` checks; `mixer audit verify` agrees."""
    data, proof = str(audit.parent), tmp_path / "proof.json"
    assert console.run(mixer.app, ["audit", "prove", uuid(7), "--data", data, "--out", str(proof)]) == 0
    check = ["verify-proof", str(proof), "--key", str(audit.parent / "signing.pub"), "--json"]
    assert console.run(main.app, check) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["ok"], found["id"], found["leaf_seq"]) == (True, uuid(7), 7)
    assert console.run(mixer.app, ["audit", "verify", "--data", data, "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert (report["ok"], report["commits"], report["faults"]) == (True, 2, [])
    proof.write_text(proof.read_text().replace('"position": 7', '"position": 6'))
    assert console.run(main.app, check) == 1
    assert "does not hold" in capsys.readouterr().err
    (audit / "messages").rename(tmp_path / "gone")
    assert console.run(mixer.app, ["audit", "verify", "--data", data]) == 1
    assert "the file was removed" in capsys.readouterr().out


def test_a_proof_is_read_from_standard_input(
    audit: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """`mixer audit prove ID | fluxrig verify-proof -` is one line; a file that is not there is told."""
    assert console.run(mixer.app, ["audit", "prove", uuid(7), "--data", str(audit.parent)]) == 0
    monkeypatch.setattr("sys.stdin", io.StringIO(capsys.readouterr().out))
    key = ["--key", str(audit.parent / "signing.pub")]
    assert console.run(main.app, ["verify-proof", "-", *key]) == 0
    assert "the proof holds" in capsys.readouterr().out
    assert console.run(main.app, ["verify-proof", str(audit / "nothing.json"), *key]) == 1
    assert "nothing.json" in capsys.readouterr().err


def test_the_private_key_is_private(audit: Path) -> None:
    """It is made at the first start, for its owner alone, and used again."""
    path = audit.parent / "signing.key"
    assert path.stat().st_mode & 0o777 == 0o600
    assert SigningKey.of(audit.parent).key_id == SigningKey.of(audit.parent).key_id
    assert decode(encode(message(1))) == message(1)


def test_a_lost_private_key_keeps_the_old_public_one(audit: Path) -> None:
    """A new key is made, and what the old one signed can still be checked with its public half."""
    old = SigningKey.of(audit.parent).key_id
    (audit.parent / "signing.key").unlink()
    new = SigningKey.of(audit.parent).key_id
    kept = audit.parent / f"signing.{old}.pub"
    assert PublicKeys.load([kept, audit.parent / "signing.pub"]).ids == {old, new}
