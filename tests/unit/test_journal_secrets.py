"""The secrets store: values in deletable files, keyed digests everywhere else."""

import stat

import pytest

from vordr.journal.secrets import SecretStore, keyed_digest
from vordr.model.errors import StateError, UsageError
from vordr.model.paths import Paths

ID = "c" * 64


@pytest.fixture
def paths(tmp_path):
    return Paths(tmp_path, tmp_path / "run")


@pytest.fixture
def secrets(paths):
    return SecretStore(paths)


def test_values_come_back_and_digests_match_them(secrets):
    digests = secrets.put(ID, {"TOKEN": "s3cret", "EMPTY": ""})
    assert secrets.get(ID) == secrets.get(ID, digests) == {"TOKEN": "s3cret", "EMPTY": ""}
    assert all(digest.startswith("hmac-sha256:") and len(digest) == 76 for digest in digests.values())


def test_only_root_can_read_the_files(paths, secrets):
    secrets.put(ID, {"TOKEN": "s3cret"})
    assert stat.S_IMODE(paths.secrets.stat().st_mode) == 0o700
    assert [stat.S_IMODE(file.stat().st_mode) for file in paths.secrets.iterdir()] == [0o600]


def test_a_digest_says_nothing_about_equal_values_elsewhere(secrets):
    first = secrets.put(ID, {"A": "same", "B": "same"})
    second = secrets.put("d" * 64, {"A": "same"})
    assert len({first["A"], first["B"], second["A"]}) == 3


def test_the_same_value_put_again_has_the_same_digest(secrets):
    before = secrets.put(ID, {"A": "1", "B": "2"})
    after = secrets.put(ID, {"A": "1", "B": "3"})
    assert before["A"] == after["A"]
    assert before["B"] != after["B"]


def test_once_deleted_the_key_is_gone_too(secrets):
    before = secrets.put(ID, {"A": "1"})
    secrets.delete(ID)
    secrets.delete(ID)
    assert secrets.get(ID) == {}
    assert secrets.put(ID, {"A": "1"}) != before


def test_names_and_values_cannot_be_shifted_into_each_other():
    assert keyed_digest(b"k", "A", "B") != keyed_digest(b"k", "AB", "")


def test_no_values_leave_no_file(paths, secrets):
    secrets.put(ID, {"A": "1"})
    assert secrets.put(ID, {}) == {}
    assert list(paths.secrets.iterdir()) == []


def test_a_missing_value_is_refused_by_name_and_not_by_content(secrets):
    digests = secrets.put(ID, {"TOKEN": "s3cret"})
    with pytest.raises(StateError, match="OTHER") as refused:
        secrets.get(ID, {**digests, "OTHER": "hmac-sha256:" + "0" * 64})
    assert "s3cret" not in str(refused.value)


def test_a_value_changed_behind_our_back_is_refused(paths, secrets):
    digests = secrets.put(ID, {"TOKEN": "s3cret"})
    (file,) = paths.secrets.iterdir()
    file.write_bytes(file.read_bytes().replace(b"s3cret", b"s3creT"))
    with pytest.raises(StateError, match="not the one journalled"):
        secrets.get(ID, digests)


def test_a_damaged_file_is_refused(paths, secrets):
    secrets.put(ID, {"TOKEN": "s3cret"})
    (file,) = paths.secrets.iterdir()
    file.write_bytes(b"{}")
    with pytest.raises(StateError, match="cannot be read"):
        secrets.get(ID)


@pytest.mark.parametrize("name", ["", "..", "a/b", "../x", ".hidden", "x" * 200])
def test_a_name_that_leads_out_of_the_folder_is_refused(secrets, name):
    with pytest.raises(UsageError):
        secrets.put(name, {"A": "1"})


def test_bytes_that_are_no_text_are_refused(secrets):
    with pytest.raises(UsageError, match="UTF-8"):
        secrets.put(ID, {"A": "\udcff"})
