"""Whatever bytes come: the tar reader ends in members or a refusal, and no admitted name leaves the layer."""

from __future__ import annotations

import io
import posixpath

from hypothesis import given, settings
from hypothesis import strategies as st
from images_world import entry, tar_of

from vordr.images.decompress import LimitExceeded
from vordr.images.layer_tree import LayerRefused, LayerTree
from vordr.images.limits import Limits
from vordr.images.tarstream import BLOCK, Member, TarInvalid, Type, members

NAMES = st.text("ab./", min_size=1, max_size=9).map(str.encode)
PARTS = st.sampled_from([b"a", b"b", b"..", b".", b"", b".wh.a", b".wh..wh..opq", b".wh.."])
PATHS = st.lists(PARTS, min_size=1, max_size=5).map(b"/".join)
KINDS = st.sampled_from(list(Type))
MEMBERS = st.builds(
    lambda name, kind, link: Member(name, kind, 0o644, 0, 0, 0, 0, link if kind in LINKED else b""),
    PATHS | NAMES, KINDS, PATHS,
)
LINKED = (Type.SYMLINK, Type.HARD_LINK)


@given(st.lists(st.tuples(st.integers(0, 3 * BLOCK), st.integers(0, 255)), max_size=8))
def test_a_damaged_tar_ends_in_members_or_a_refusal(damage: list[tuple[int, int]]) -> None:
    tar = bytearray(tar_of(entry("a" * 120, b"x" * 700, pax_headers={"mtime": "1.5"}), entry("b")))
    for at, value in damage:
        tar[at] = value
    try:
        for member, content in members(io.BytesIO(tar).read):
            assert member.size == sum(map(len, content)) and member.size <= len(tar)
    except TarInvalid:
        pass


@given(st.binary(max_size=4 * BLOCK))
def test_bytes_of_any_kind_end_in_members_or_a_refusal(junk: bytes) -> None:
    try:
        for _ in members(io.BytesIO(junk).read):
            pass
    except TarInvalid:
        pass


class Disk:
    """A folder as the kernel would keep it, following symlinks as the kernel would: what escapes, raises."""

    def __init__(self) -> None:
        self.folders, self.others = {b""}, dict[bytes, Type]()

    def make(self, path: bytes, kind: Type) -> None:
        assert posixpath.normpath(b"/" + path) == b"/" + path and b".." not in path.split(b"/")
        for depth in range(1, path.count(b"/") + 1):
            assert b"/".join(path.split(b"/")[:depth]) in self.folders, "goes through what is no folder"
        assert path not in self.others, "replaces a file or link"
        if kind is Type.DIRECTORY:
            self.folders.add(path)
        else:
            assert path not in self.folders
            self.others[path] = kind


@settings(max_examples=400)
@given(st.lists(MEMBERS, max_size=12))
def test_every_admitted_member_goes_below_real_folders_of_the_layer_only(given_members: list[Member]) -> None:
    tree, disk = LayerTree(Limits(entries=20)), Disk()
    for member in given_members:
        try:
            admitted = tree.admit(member)
        except (LayerRefused, LimitExceeded):
            return
        for folder in admitted.parents:
            assert folder not in disk.folders
            disk.make(folder, Type.DIRECTORY)
        place = admitted.place
        if place is None or not place.path:
            continue
        assert place.exists == (place.path in disk.folders)
        disk.make(place.path, member.type)
        if member.type is Type.HARD_LINK:
            assert place.link in disk.others and place.link != place.path
    for hidden in tree.whiteouts():
        disk.make(hidden, Type.FILE)
    assert set(tree.opaque()) <= disk.folders
