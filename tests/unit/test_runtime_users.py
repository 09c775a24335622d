"""--user against the image's own account files, which are hostile."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from vordr.model.errors import ContainerStopped, RuntimeFailed, UsageError
from vordr.model.spec import IdRange
from vordr.runtime.users import UserIds, resolve

IDS = IdRange(1_000_000, 65536)


@pytest.fixture
def rootfs(tmp_path: Path) -> Path:
    etc = tmp_path / "rootfs" / "etc"
    etc.mkdir(parents=True)
    (etc / "passwd").write_text(
        "# comment\nroot:x:0:0:root:/root:/bin/sh\nann:x:1000:1001:Ann:/home/ann:/bin/sh\n"
        "broken:x:y:z\n42:x:7:7::/n:\n"
    )
    (etc / "group").write_text("root:x:0:\nann:x:1001:\nwheel:x:10:bob,ann\nstaff:x:50:ann\nbad:x:q:ann\n")
    return tmp_path / "rootfs"


@pytest.mark.parametrize(
    ("user", "expected"),
    [
        ("", UserIds(0, 0, (), "/root")),
        ("root", UserIds(0, 0, (), "/root")),
        ("ann", UserIds(1000, 1001, (10, 50), "/home/ann")),
        ("1000", UserIds(1000, 1001, (10, 50), "/home/ann")),
        ("ann:wheel", UserIds(1000, 10, (), "/home/ann")),
        ("ann:77", UserIds(1000, 77, (), "/home/ann")),
        ("5000", UserIds(5000, 0, (), "/")),
        ("5000:5001", UserIds(5000, 5001, (), "/")),
        (":wheel", UserIds(0, 10, (), "/root")),
    ],
)
def test_users_and_groups_resolve_as_docker_does(rootfs: Path, user: str, expected: UserIds) -> None:
    assert resolve(rootfs, user, IDS) == expected


@pytest.mark.parametrize("user", ["nobody", "ann:nogroup", "-1", "4294967296x", "99999999999999999999"])
def test_unknown_names_are_refused(rootfs: Path, user: str) -> None:
    with pytest.raises(UsageError):
        resolve(rootfs, user, IDS)


def test_an_id_outside_the_range_is_refused(rootfs: Path) -> None:
    with pytest.raises(UsageError, match="outside"):
        resolve(rootfs, "1000", IdRange(1_000_000, 1000))


def test_an_image_without_account_files_knows_numbers_only(tmp_path: Path) -> None:
    assert resolve(tmp_path, "12:13", IDS) == UserIds(12, 13)
    with pytest.raises(UsageError):
        resolve(tmp_path, "ann", IDS)


def test_a_symlink_cannot_lead_out_of_the_image(rootfs: Path, tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("evil:x:0:0::/outside:/bin/sh\n")
    (rootfs / "etc" / "passwd").unlink()
    (rootfs / "etc" / "passwd").symlink_to(tmp_path / "secret")
    with pytest.raises(UsageError):
        resolve(rootfs, "evil", IDS)
    (rootfs / "etc" / "passwd").unlink()
    (rootfs / "etc" / "passwd").symlink_to("../../secret")
    with pytest.raises(UsageError):
        resolve(rootfs, "evil", IDS)


def test_a_symlink_within_the_image_is_followed_from_its_root(rootfs: Path) -> None:
    (rootfs / "etc" / "passwd").rename(rootfs / "accounts")
    (rootfs / "etc" / "passwd").symlink_to("/accounts")
    assert resolve(rootfs, "ann", IDS).uid == 1000


def test_renames_on_the_host_do_not_keep_a_link_from_being_followed(rootfs: Path, tmp_path: Path) -> None:
    """The kernel gives up (EAGAIN) going up a ``..`` while something is renamed, wherever that is."""
    (rootfs / "etc" / "passwd").rename(rootfs / "accounts")
    (rootfs / "etc" / "passwd").symlink_to("../" * 20 + "accounts")
    (tmp_path / "a").touch()
    rename = "import os\nprint(flush=True)\nwhile True:\n os.rename('a', 'b'); os.rename('b', 'a')"
    with subprocess.Popen([sys.executable, "-c", rename], cwd=tmp_path, stdout=subprocess.PIPE) as beside:
        try:
            assert beside.stdout is not None and beside.stdout.readline()
            assert {resolve(rootfs, "ann", IDS).uid for _ in range(2000)} == {1000}
        finally:
            beside.kill()


def test_a_fifo_as_account_file_neither_hangs_nor_passes(rootfs: Path) -> None:
    (rootfs / "etc" / "passwd").unlink()
    os.mkfifo(rootfs / "etc" / "passwd")
    with pytest.raises(RuntimeFailed, match="not a plain file"):
        resolve(rootfs, "0", IDS)


def test_a_root_file_system_that_is_gone_is_that_of_a_stopped_container(tmp_path: Path) -> None:
    with pytest.raises(ContainerStopped):
        resolve(tmp_path / "gone", "0", IdRange(100_000))
