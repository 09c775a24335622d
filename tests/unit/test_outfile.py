"""Files of the caller's are whole or absent, and whoever is killed while one is written leaves nothing."""

from __future__ import annotations

import errno
import os
import signal
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from vordr.gatekeeper import outfile
from vordr.gatekeeper.outfile import whole_or_absent
from vordr.model.errors import UsageError

KILLED_IN_THE_MIDDLE = """
import os, signal, sys
from pathlib import Path
from vordr.gatekeeper.outfile import whole_or_absent
with whole_or_absent(Path(sys.argv[1])) as file:
    file.write(b"half")
    file.flush()
    os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.fixture(params=["nameless", "aside"])
def folder(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """On a file system with files that have no name, and as if on one without."""
    if request.param == "aside":
        monkeypatch.setattr(outfile, "_nameless", lambda folder: None)
    return tmp_path


def test_the_file_is_there_when_the_block_has_ended_and_replaces_what_was(folder: Path) -> None:
    for content in (b"one", b"another"):
        with whole_or_absent(folder / "made", 0o640) as file:
            file.write(content)
        assert os.listdir(folder) == ["made"] and (folder / "made").read_bytes() == content
        assert stat.S_IMODE((folder / "made").stat().st_mode) == 0o640


def test_an_error_leaves_what_was(folder: Path) -> None:
    (folder / "made").write_text("old")
    with pytest.raises(KeyError), whole_or_absent(folder / "made") as file:
        file.write(b"half")
        raise KeyError
    assert os.listdir(folder) == ["made"] and (folder / "made").read_text() == "old"


def test_permissions_are_the_umasks_where_none_are_given(folder: Path) -> None:
    before = os.umask(0o027)
    try:
        with whole_or_absent(folder / "made"):
            pass
    finally:
        os.umask(before)
    assert stat.S_IMODE((folder / "made").stat().st_mode) == 0o640


def test_a_place_that_cannot_be_written_is_named(folder: Path) -> None:
    words = "missing/made: cannot be written: No such file"
    with pytest.raises(UsageError, match=words), whole_or_absent(folder / "missing" / "made"):
        pass


def test_whoever_is_killed_meanwhile_leaves_nothing(tmp_path: Path) -> None:
    command = [sys.executable, "-c", KILLED_IN_THE_MIDDLE, str(tmp_path / "made")]
    assert subprocess.run(command, timeout=60, check=False).returncode == -signal.SIGKILL
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("length", [255, 256])
def test_a_name_may_be_as_long_as_can_be_and_no_longer(folder: Path, length: int) -> None:
    place = folder / ("n" * length)
    if length > 255:
        with pytest.raises(UsageError, match="cannot be written: File name too long"), whole_or_absent(place):
            pass
        assert os.listdir(folder) == []
        return
    for content in (b"one", b"another"):
        with whole_or_absent(place) as file:
            file.write(content)
    assert os.listdir(folder) == [place.name] and place.read_bytes() == b"another"


def test_a_file_in_the_place_of_the_folder_is_named(folder: Path) -> None:
    (folder / "file").write_text("")
    with pytest.raises(UsageError, match="file/made: cannot be written: Not a directory"), \
            whole_or_absent(folder / "file" / "made"):
        pass


def test_a_new_file_has_one_name_only_from_the_beginning(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else whoever is killed between two names leaves the first."""
    monkeypatch.setattr(outfile.os, "rename", lambda *names: pytest.fail("it had another name before"))
    with whole_or_absent(tmp_path / "made") as file:
        file.write(b"new")
    assert os.listdir(tmp_path) == ["made"] and (tmp_path / "made").read_bytes() == b"new"


@pytest.mark.parametrize("code", [errno.EOPNOTSUPP, errno.EISDIR])
def test_a_file_system_without_nameless_files_is_written_beside(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    def refused(*args: object) -> int:
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(outfile.os, "open", refused)
    assert outfile._nameless(tmp_path) is None
