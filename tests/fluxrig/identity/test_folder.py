"""A Rack's identity on disk: whole or the one before, whatever happens in between."""

import shutil
from pathlib import Path
from typing import Any

import pytest

from fluxrig.errors import IdentityError
from fluxrig.identity import certificates, jwt
from fluxrig.identity.address import Address
from fluxrig.identity.enrol import Answer
from fluxrig.identity.folder import Identity, IdentityFolder
from fluxrig.identity.keys import Keys
from fluxrig.identity.nkey import KeyPair, Kind

CA = certificates.make_ca("fluxrig test")
ACCOUNT = KeyPair.create(Kind.ACCOUNT)
AT = Address("127.0.0.1", 7423)


def enrolled(folder: IdentityFolder, life_s: int = 3600, keys: Keys | None = None, **dials: Any) -> Identity:
    keys = keys or folder.pending_keys()
    csr = certificates.make_csr(keys.tls, "p", "r")
    certificate = certificates.to_pem(certificates.issue_rack(CA, csr, "p", "r", life_s)).decode()
    token = jwt.user_jwt(keys.nats.public, "r", ACCOUNT)
    who = {"project": "p", "rack": "r", "uns": "a/b"}
    shown = {"certificate": certificate, "jwt": token}
    answer = Answer(state="approved", **who, **shown, **(dials or {"leaf_port": 1}))
    return folder.save(keys, answer, certificates.to_pem(CA.certificate), AT)


def test_nothing_is_there_at_first(tmp_path: Path) -> None:
    """A new Rack has no identity, and looking makes none."""
    assert IdentityFolder(tmp_path / "state").load() is None


def test_keys_wait_for_approval(tmp_path: Path) -> None:
    """Keys of a first try are taken up by the next, unless they were given up or are damaged."""
    folder = IdentityFolder(tmp_path)
    first = folder.pending_keys().public
    assert folder.pending_keys().public == first
    assert folder.load() is None
    (tmp_path / "identity.pending" / "user.nk").write_text("cut")
    second = folder.pending_keys().public
    assert second != first
    folder.forget_pending()
    assert folder.pending_keys().public != second


def test_what_the_leaf_dials_is_kept(tmp_path: Path) -> None:
    """The Mixer by its own authority; or servers elsewhere, by theirs, or by what the machine trusts."""
    folder = IdentityFolder(tmp_path)
    enrolled(folder)
    assert (found := folder.load()) is not None
    assert (found.dials, found.leaf_ca) == ((Address("127.0.0.1", 1),), found.ca_pem)
    other = certificates.to_pem(certificates.make_ca("the site's").certificate).decode()
    enrolled(folder, leaves=("a:7422", "[::1]:7422"), leaf_ca=other)
    assert (found := folder.load()) is not None
    assert found.dials == (Address("a", 7422), Address("::1", 7422))
    assert found.leaf_ca is not None
    assert found.leaf_ca.read_text() == other
    enrolled(folder, leaves=("a:7422",))
    assert (found := folder.load()) is not None
    assert found.leaf_ca is None


@pytest.mark.parametrize("moment", ["before", "between", "after"])
def test_a_crash_while_keys_are_replaced_leaves_one_of_both(tmp_path: Path, moment: str) -> None:
    """Old or new, never half of each."""
    folder = IdentityFolder(tmp_path)
    old = enrolled(folder).keys().public
    shutil.copytree(tmp_path / "identity", tmp_path / "kept")
    new = enrolled(folder).keys().public
    (tmp_path / "identity").rename(tmp_path / "identity.new")
    (tmp_path / "kept").rename(tmp_path / ("identity" if moment == "before" else "identity.old"))
    if moment == "after":
        (tmp_path / "identity.new").rename(tmp_path / "identity")
    found = IdentityFolder(tmp_path).load()
    assert found is not None
    assert found.keys().public == (old if moment == "before" else new)
    assert not (tmp_path / "identity.old").exists()


@pytest.mark.parametrize("name", ["tls.key", "tls.pem", "ca.pem", "user.nk", "user.creds", "rack.json"])
@pytest.mark.parametrize("how", ["missing", "empty", "cut", "foreign"])
def test_a_damaged_identity_is_told(tmp_path: Path, name: str, how: str) -> None:
    """A file that is missing, cut, or belongs to another Rack: one line that says how to go on."""
    folder = IdentityFolder(tmp_path / "one")
    enrolled(folder)
    file = tmp_path / "one" / "identity" / name
    if how == "missing":
        file.unlink()
    elif how == "foreign":
        other = IdentityFolder(tmp_path / "other")
        enrolled(other)
        text = (tmp_path / "other" / "identity" / name).read_text()
        file.write_text(text.replace('"r"', '"other"') if name in {"rack.json", "ca.pem"} else text)
        if name == "ca.pem":
            file.write_bytes(certificates.to_pem(certificates.make_ca("other").certificate))
    else:
        file.write_text(file.read_text()[: 0 if how == "empty" else 40])
    with pytest.raises(IdentityError, match=r"fluxrig enroll TOKEN --new-keys") as told:
        folder.load()
    assert "\n" not in str(told.value)


def test_a_certificate_is_renewed_at_half_its_life(tmp_path: Path) -> None:
    """Early enough to try for long; at once when the clock went back before it was issued."""
    identity = enrolled(IdentityFolder(tmp_path), life_s=1000)
    assert not identity.needs_renewal(identity.issued_s + 400)
    assert identity.needs_renewal(identity.issued_s + 600)
    assert identity.needs_renewal(identity.issued_s - 3600)


def test_an_answer_for_other_keys_is_not_kept(tmp_path: Path) -> None:
    """What does not fit the keys takes nothing's place."""
    folder = IdentityFolder(tmp_path)
    before = enrolled(folder)
    other = Keys.create()
    csr = certificates.make_csr(other.tls, "p", "r")
    pem = certificates.to_pem(certificates.issue_rack(CA, csr, "p", "r", 60)).decode()
    answer = Answer(state="approved", project="p", rack="r", uns="a/b", certificate=pem, jwt="x")
    with pytest.raises(IdentityError, match="do not belong together"):
        folder.save(before.keys(), answer, certificates.to_pem(CA.certificate), AT)
    assert folder.load() == before


def test_keys_that_wait_outlast_a_renewal(tmp_path: Path) -> None:
    """A Rack that runs on with its old keys does not lose the new ones that wait for approval."""
    folder = IdentityFolder(tmp_path)
    old = enrolled(folder).keys()
    waiting = folder.pending_keys().public
    enrolled(folder, keys=old)
    assert folder.pending_keys().public == waiting
    assert enrolled(folder).keys().public == waiting
    assert not (tmp_path / "identity.pending").exists()


def test_which_paths_an_identity_covers(tmp_path: Path) -> None:
    """Its prefix and what is below, by whole names."""
    identity = enrolled(IdentityFolder(tmp_path))
    assert [identity.covers(uns) for uns in ("a/b", "a/b/c", "a/bc", "a")] == [True, True, False, False]
