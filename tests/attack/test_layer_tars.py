"""Malicious layers against the real unpacking: each row is one attack, and the canary outside never
changes.
"""

from __future__ import annotations

import gzip
import os
import select
import subprocess
import sys
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import msgspec
import pytest
from images_world import FILE, FOLDER, LINK, SYMLINK, entry, instance, layer_of, sha256, tar_of, zstd

from vordr.images import seal
from vordr.images.decompress import Compression
from vordr.images.layout import OCI_LAYER
from vordr.images.limits import Limits
from vordr.images.store import ImageStore
from vordr.images.unpack import unpack
from vordr.images.unpack_wire import Request
from vordr.model.errors import ImageUnreadable
from vordr.model.paths import Paths
from vordr.model.state import Layer

LIMITS = Limits(stream_bytes=64 << 20, entries=2_000, ratio=100, ratio_from=4 << 20, memory=1 << 30)


class Attack(NamedTuple):
    """A tar, and the words that its refusal must hold."""

    tar: bytes
    refusal: str


def evil(*entries: tuple[tarfile.TarInfo, bytes], refusal: str) -> Attack:
    return Attack(tar_of(entry("honest", b"first"), *entries), refusal)


def gnu(*entries: tuple[tarfile.TarInfo, bytes]) -> bytes:
    return tar_of(*entries, format=tarfile.GNU_FORMAT)


def changed(tar: bytes, place: int, text: bytes) -> bytes:
    """The first header with other bytes at ``place``, its checksum made right."""
    header = bytearray(tar[:512])
    header[place : place + len(text)] = text
    header[148:156] = b" " * 8
    header[148:156] = b"%06o\0 " % sum(header)
    return bytes(header) + tar[512:]


def old_type(tar: bytes) -> bytes:
    """The member after one pax header with the type that files had before POSIX."""
    return tar[:1024] + changed(tar[1024:], 156, b"\0")


def gnu_and_pax_names() -> bytes:
    """GNU's long name says one thing, the pax header after it another."""
    named, path = gnu(entry("g" * 120)), tar_of(entry("f", b"x", pax_headers={"path": "p"}))
    return named[:1024] + path


CANARY = "canary"
UP = "../" * 12
ATTACKS = {
    "traversal": evil(entry(f"{UP}tmp/{CANARY}", b"owned"), refusal="goes up"),
    "traversal within a path": evil(entry(f"a/../{UP}tmp/{CANARY}", b"owned"), refusal="goes up"),
    "traversal by a folder": evil(entry(f"{UP}tmp", type=FOLDER, mode=0o777), refusal="goes up"),
    "absolute name": evil(entry("/tmp/x", b"owned", pax_headers={"path": "/tmp/x"}), refusal="absolute"),
    "symlink, then write through it": evil(
        entry("s", type=SYMLINK, linkname="/tmp"), entry("s/x", b"owned"), refusal="no folder"
    ),
    "relative symlink, then write through it": evil(
        entry("s", type=SYMLINK, linkname=f"{UP}tmp"), entry("s/x", b"owned"), refusal="no folder"
    ),
    "chain of symlinks": evil(
        entry("a", type=SYMLINK, linkname=".."),
        entry("b", type=SYMLINK, linkname="a/.."),
        entry("b/x", b"owned"),
        refusal="no folder",
    ),
    "symlink over an implied folder": evil(
        entry("d/f", b"x"), entry("d", type=SYMLINK, linkname="/tmp"), refusal="twice"
    ),
    "write over a symlink": evil(
        entry("s", type=SYMLINK, linkname=f"/tmp/{CANARY}"), entry("s", b"owned"), refusal="twice"
    ),
    "folder over a symlink": evil(
        entry("s", type=SYMLINK, linkname="/tmp"), entry("s", type=FOLDER, mode=0o777), refusal="twice"
    ),
    "hard link to outside": evil(entry("h", type=LINK, linkname=f"{UP}etc/shadow"), refusal="goes up"),
    "hard link to an absolute name": evil(entry("h", type=LINK, linkname="/etc/shadow"), refusal="absolute"),
    "hard link through a symlink": evil(
        entry("s", type=SYMLINK, linkname="/etc"),
        entry("h", type=LINK, linkname="s/shadow"),
        refusal="no earlier file",
    ),
    "hard link to a symlink, then write": evil(
        entry("s", type=SYMLINK, linkname=f"/tmp/{CANARY}"),
        entry("h", type=LINK, linkname="s"),
        entry("h", b"owned"),
        refusal="twice",
    ),
    "disk as a device": evil(entry("sda", type=tarfile.BLKTYPE, devmajor=8), refusal="device node"),
    "memory as a device": evil(
        entry("mem", type=tarfile.CHRTYPE, devmajor=1, devminor=1), refusal="device node"
    ),
    "whiteout smuggled as a device": evil(entry("gone", type=tarfile.CHRTYPE), refusal="device node"),
    "duplicate file": evil(entry("honest", b"second"), refusal="twice"),
    "duplicate by another spelling": evil(entry(".//honest", b"second"), refusal="twice"),
    "overlayfs redirect": evil(
        entry("d", type=FOLDER, pax_headers={"SCHILY.xattr.trusted.overlay.redirect": "/etc"}),
        refusal="reserved",
    ),
    "overlayfs metacopy": evil(
        entry("f", pax_headers={"SCHILY.xattr.trusted.overlay.metacopy": "x"}), refusal="reserved"
    ),
    "whiteout of the parent": evil(entry("d/.wh..."), refusal="nothing that can exist"),
    "whiteout through a symlink": evil(
        entry("s", type=SYMLINK, linkname="/tmp"), entry(f"s/.wh.{CANARY}"), refusal="no folder"
    ),
    "opaque mark through a symlink": evil(
        entry("s", type=SYMLINK, linkname="/tmp"), entry("s/.wh..wh..opq"), refusal="no folder"
    ),
    "name component too long": evil(entry("n" * 256), refusal="255"),
    "name too long": evil(entry("n/" * 2100 + "n"), refusal="bytes"),
    "nesting that ends programs which recurse": evil(entry("n/" * 1990 + "n"), refusal="256 folders deep"),
    "folders on the way beyond the entry limit": evil(
        *(entry(f"{top}/" + "n/" * 250 + "n") for top in range(9)), refusal="2000 entries"
    ),
    "too many entries": evil(*(entry(f"f{number}") for number in range(2_100)), refusal="2000 entries"),
    "sparse file": evil(entry("f", pax_headers={"GNU.sparse.major": "1"}), refusal="sparse"),
    "size that lies": Attack(tar_of(entry("f", b"x" * 600))[:900], "before the end of a member"),
    "two archives, the second hidden behind one zero block": Attack(
        tar_of(entry("f"))[:512] + bytes(512) + tar_of(entry("g")), "single zero block"
    ),
    "checksum for readers that do not look": Attack(
        tar_of(entry("f"))[:148] + b"0000000\0" + tar_of(entry("f"))[156:], "checksum"
    ),
    "device number at which other readers stop": Attack(
        changed(tar_of(entry("f"), entry("hidden", b"x")), 329, b"\x18" * 8), "not a number"
    ),
    "extension header at which other readers stop": Attack(
        changed(tar_of(entry("hidden", b"x", pax_headers={"comment": "x"})), 100, b"9551615"), "not a number"
    ),
    "GNU header whose times other readers take for a folder": Attack(
        changed(gnu(entry("passwd", b"x")), 345, b"etc\0"), "beyond the device numbers"
    ),
    "star header, whose times this reader would take for a folder": Attack(
        changed(tar_of(entry("passwd", b"x"), format=tarfile.USTAR_FORMAT), 508, b"tar\0"), "after its prefix"
    ),
    "file that other readers take for no folder": Attack(
        changed(tar_of(entry("etc/", b"")), 156, b"0"), "file whose name ends in a slash"
    ),
    "file of old whose long name makes it a folder": Attack(
        old_type(tar_of(entry("f", pax_headers={"path": "etc/"}))), "a folder by one of its names"
    ),
    "folder of old whose long name makes it a file": Attack(
        old_type(tar_of(entry("etc/", pax_headers={"path": "f"}))), "a folder by one of its names"
    ),
    "two long names, of which readers take another one each": Attack(
        gnu_and_pax_names(), "pax and GNU extension headers"
    ),
    "header of no known kind": Attack(
        changed(tar_of(entry("f"), entry("hidden", b"x")), 257, b"tar"), "neither ustar nor older"
    ),
    "root of an owner that no kernel knows": evil(
        entry("./", type=FOLDER, uid=2**40, mode=0o755), refusal="has the owner"
    ),
    "GNU long name with another after its end": Attack(
        gnu(entry("n" * 101 + "\0tail", b"x")), "NUL byte in a GNU"
    ),
    "GNU long link with another after its end": Attack(
        gnu(entry("s", type=SYMLINK, linkname="/" * 101 + "\0tail")), "NUL byte in a GNU"
    ),
    "attribute whose name has an end inside": evil(
        entry("f", pax_headers={"SCHILY.xattr.user.a\0b": "x"}), refusal="NUL byte in a pax keyword"
    ),
    "attribute whose name is longer than it looks": evil(
        entry("f", pax_headers={"SCHILY.xattr.user." + "é" * 130: "x"}), refusal="attribute"
    ),
    "name that is too long by its own slash": evil(
        entry("/".join(["n" * 255] * 16), b"x"), refusal="4095 bytes"
    ),
    "no tar": Attack(b"\x7fELF" + b"\1" * 4096, "not a number"),
}


@pytest.fixture
def paths(tmp_path: Path) -> Iterator[Paths]:
    with instance(tmp_path) as made:
        ImageStore(made).prepare()
        yield made


def unpacked(tar: bytes, folder: Path, limits: Limits = LIMITS) -> Path:
    target = folder / "target"
    target.mkdir()
    blob = folder / "blob"
    blob.write_bytes(tar)
    with blob.open("rb") as file:
        unpack(file.fileno(), OCI_LAYER, sha256(tar), target, limits)
    return target


@pytest.mark.parametrize("attack", ATTACKS.values(), ids=ATTACKS.keys())
def test_a_malicious_layer_is_refused_and_touches_nothing_outside(attack: Attack, tmp_path: Path) -> None:
    canary = Path("/tmp") / CANARY
    before = {path: path.lstat() for path in (Path("/tmp"), Path("/etc"), Path("/etc/shadow"))}
    with pytest.raises(ImageUnreadable, match=attack.refusal):
        unpacked(attack.tar, tmp_path)
    assert not canary.exists() and not (Path("/tmp") / "x").exists()
    assert Path("/etc/shadow").stat().st_nlink == before[Path("/etc/shadow")].st_nlink
    assert Path("/tmp").stat().st_mode == before[Path("/tmp")].st_mode
    assert sorted(path.name for path in tmp_path.iterdir()) == ["blob", "target"]


@pytest.mark.parametrize("attack", list(ATTACKS.values())[:12], ids=list(ATTACKS)[:12])
def test_a_malicious_layer_leaves_no_sealed_file(attack: Attack, paths: Paths) -> None:
    store = ImageStore(paths)
    with pytest.raises(ImageUnreadable):
        seal.seal_layer(store, layer_of(store, attack.tar), paths)
    assert list(paths.layers.iterdir()) == []


BOMB = tar_of(entry("zeros", bytes(32 << 20)))


@pytest.mark.parametrize(
    ("packing", "blob"), [("+gzip", gzip.compress(BOMB)), ("+zstd", zstd(BOMB))], ids=["gzip", "zstd"]
)
def test_a_bomb_is_stopped_long_before_it_fills_the_disk(packing: str, blob: bytes, paths: Paths) -> None:
    store = ImageStore(paths)
    store.add_bytes(blob, sha256(blob))
    layer = Layer(diff_id=sha256(BOMB), blob=sha256(blob), size=len(blob), media_type=OCI_LAYER + packing)
    with pytest.raises(ImageUnreadable, match="100 times its size"):
        seal.seal_layer(store, layer, paths, limits=LIMITS)
    assert list(paths.layers.iterdir()) == []


def test_a_layer_beyond_the_byte_limit_is_stopped(tmp_path: Path) -> None:
    with pytest.raises(ImageUnreadable, match="1000000 bytes"):
        unpacked(tar_of(entry("f", os.urandom(2_000_000))), tmp_path, Limits(stream_bytes=1_000_000))


def test_memory_of_the_child_is_bounded_by_the_kernel(tmp_path: Path) -> None:
    with pytest.raises(ImageUnreadable, match="bytes of memory"):
        unpacked(tar_of(entry("f", os.urandom(4 << 20))), tmp_path, Limits(memory=16 << 20))


def test_links_that_point_out_are_kept_as_text_and_never_followed(tmp_path: Path) -> None:
    target = unpacked(
        tar_of(entry("s", type=SYMLINK, linkname="/etc/shadow", mode=0o777, uid=12, mtime=7)), tmp_path
    )
    assert os.readlink(target / "s") == "/etc/shadow"
    assert Path("/etc/shadow").stat().st_uid == 0 and Path("/etc/shadow").stat().st_mtime != 7


def test_set_id_bits_and_pipes_stay_but_nothing_runs_while_unpacking(tmp_path: Path) -> None:
    target = unpacked(
        tar_of(entry("su", b"x", mode=0o6755, uid=1), entry("pipe", type=tarfile.FIFOTYPE, mode=0o600)),
        tmp_path,
    )
    assert (target / "su").stat().st_mode & 0o7777 == 0o6755
    assert (target / "pipe").is_fifo()


def test_names_that_are_no_text_are_kept_byte_for_byte(tmp_path: Path) -> None:
    name = bytes([0xFF, 0xFE, 0x0A, 0x1B])
    info, _ = entry(os.fsdecode(name), type=FILE)
    target = unpacked(tar_of((info, b"")), tmp_path)
    assert os.listdir(os.fsencode(target)) == [name]


def test_the_child_is_shut_in_while_it_works(tmp_path: Path) -> None:
    """Looked at from outside while it waits for the rest of its blob: capabilities, namespaces, root."""
    target = tmp_path / "target"
    target.mkdir()
    reading, writing = os.pipe()
    request = msgspec.json.encode(Request(Compression.NONE, 1 << 20, LIMITS)).decode()
    command = [sys.executable, "-I", "-m", "vordr.images.unpack_child", str(target), str(writing), request]
    with subprocess.Popen(command, stdin=subprocess.PIPE, pass_fds=(writing,)) as child:
        os.close(writing)
        assert child.stdin
        child.stdin.write(tar_of(entry("first", b"x"))[:1024])
        child.stdin.flush()
        while not (target / "first").exists():
            assert child.poll() is None
        (inner,) = children(child.pid)
        status = dict(line.split(":\t", 1) for line in Path(f"/proc/{inner}/status").read_text().splitlines())
        # chown, dac_override, fowner, fsetid, setfcap
        assert int(status["CapEff"], 16) == int(status["CapBnd"], 16) == 0b11011 | 1 << 31
        assert status["NoNewPrivs"] == "1" and status["CapInh"].strip("0") == ""
        assert status["NSpid"].split()[-1] == "1"
        for name in ("mnt", "pid", "net", "ipc", "uts", "cgroup"):
            assert os.readlink(f"/proc/{inner}/ns/{name}") != os.readlink(f"/proc/self/ns/{name}")
        assert os.listdir(f"/proc/{inner}/root") == ["first"]
        mounts = Path(f"/proc/{inner}/mountinfo").read_text().splitlines()
        assert len(mounts) == 1 and "nosuid,nodev,noexec" in mounts[0]
        child.stdin.close()
        os.close(reading)


def test_the_child_dies_with_the_engine(tmp_path: Path) -> None:
    """The kernel ends it: a service that is killed leaves no process that still writes."""
    target = tmp_path / "target"
    target.mkdir()
    script = (
        "from pathlib import Path\nfrom vordr.images.unpack import unpack\n"
        f"unpack(0, {OCI_LAYER!r}, 'sha256:' + '0' * 64, Path({str(target)!r}))\n"
    )
    (tmp_path / "blob").write_bytes(
        tar_of(entry("first", b"x"), *(entry(f"f{n}", b"y" * 4096) for n in range(9_000)))
    )
    with (
        (tmp_path / "blob").open("rb") as blob,
        subprocess.Popen([sys.executable, "-c", script], stdin=blob) as engine,
    ):
        while not (target / "first").exists():
            assert engine.poll() is None
        (outer,) = children(engine.pid)
        pidfds = [os.pidfd_open(pid) for pid in (outer, *children(outer))]
        engine.kill()
    assert len(pidfds) == 2
    for pidfd in pidfds:
        # A process descriptor becomes readable when its process has ended.
        assert select.select([pidfd], [], [], 20)[0]
        os.close(pidfd)
    assert not (target / "f8999").exists()


def children(pid: int) -> list[int]:
    return [int(word) for word in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
