"""What a layer may hold, decided without touching a disk."""

from __future__ import annotations

from typing import Any

import pytest

from vordr.images.decompress import LimitExceeded
from vordr.images.layer_tree import LayerRefused, LayerTree
from vordr.images.limits import DEFAULT_LIMITS, Limits
from vordr.images.tarstream import Member, Type

CAPABILITY = bytes.fromhex("0100000200200000" + "00" * 12)


def member(name: bytes, kind: Type = Type.FILE, **fields: Any) -> Member:
    return Member(
        **{"name": name, "type": kind, "mode": 0o644, "uid": 0, "gid": 0, "size": 0, "mtime": 0, **fields}
    )


def tree_of(*given: Member, limits: Limits = DEFAULT_LIMITS) -> LayerTree:
    tree = LayerTree(limits)
    for each in given:
        tree.admit(each)
    return tree


def folder(name: bytes, **fields: Any) -> Member:
    return member(name, Type.DIRECTORY, **fields)


def link(name: bytes, target: bytes) -> Member:
    return member(name, Type.HARD_LINK, link=target)


def symlink(name: bytes, target: bytes) -> Member:
    return member(name, Type.SYMLINK, link=target)


def test_folders_that_nobody_names_are_made_once_and_outermost_first() -> None:
    tree = LayerTree(DEFAULT_LIMITS)
    first, second = tree.admit(member(b"./a//b/c/f")), tree.admit(member(b"a/b/g"))
    assert first.parents == (b"a", b"a/b", b"a/b/c") and first.place and first.place.path == b"a/b/c/f"
    assert second.parents == ()


def test_a_folder_may_be_named_again_and_the_root_may_be_named() -> None:
    tree = tree_of(folder(b"./"), member(b"a/f"))
    place = tree.admit(folder(b"a/")).place
    assert place and place.exists


def test_a_hard_link_may_name_an_earlier_file_or_symlink() -> None:
    tree = tree_of(member(b"a"), symlink(b"s", b"/anywhere"))
    assert [tree.admit(link(name, b"./" + to)).place.link for name, to in ((b"x", b"a"), (b"y", b"s"))] == [
        b"a",
        b"s",
    ]  # type: ignore[union-attr]  # a hard link always has a place


REFUSED = {
    "absolute name": (member(b"/etc/passwd"),),
    "up": (member(b"../x"),),
    "up in the middle": (member(b"a/../../x"),),
    "up at the end": (folder(b"a/.."),),
    "empty name": (member(b""),),
    "NUL": (member(b"a\0b"),),
    "component of 256 bytes": (member(b"n" * 256),),
    "name of 4097 bytes": (member(b"n" * 240 + b"/n" * 2000),),
    "257 folders deep": (member(b"n/" * 256 + b"n"),),
    "root as a file": (member(b"."),),
    "root as a symlink": (symlink(b"./", b"/"),),
    "through a symlink": (symlink(b"s", b"/etc"), member(b"s/passwd")),
    "through a symlink to a folder of the layer": (folder(b"d"), symlink(b"s", b"d"), member(b"s/f")),
    "through a file": (member(b"f"), member(b"f/g")),
    "folder over a symlink": (symlink(b"s", b"/etc"), folder(b"s")),
    "file over a folder": (folder(b"d"), member(b"d")),
    "file twice": (member(b"f"), member(b"./f")),
    "symlink twice": (symlink(b"s", b"a"), symlink(b"s", b"b")),
    "hard link to nothing": (link(b"h", b"absent"),),
    "hard link out": (link(b"h", b"../../etc/shadow"),),
    "hard link to an absolute name": (link(b"h", b"/etc/shadow"),),
    "hard link to a folder": (folder(b"d"), link(b"h", b"d")),
    "hard link through a symlink": (symlink(b"s", b"/etc"), link(b"h", b"s/shadow")),
    "character device": (member(b"dev/null", Type.CHARACTER_DEVICE),),
    "block device": (member(b"dev/sda", Type.BLOCK_DEVICE),),
    "empty symlink": (symlink(b"s", b""),),
    "owner beyond 32 bits": (member(b"f", uid=2**32 - 1),),
    "whiteout with content": (member(b".wh.f", size=1),),
    "whiteout as a symlink": (symlink(b".wh.f", b"x"),),
    "whiteout of nothing": (member(b".wh."),),
    "whiteout of the parent": (member(b"a/.wh..."),),
    "file in a whiteout": (member(b".wh.d/f"),),
    "whiteout through a symlink": (symlink(b"s", b"/etc"), member(b"s/.wh.passwd")),
    "overlayfs redirect": (folder(b"d", xattrs={"trusted.overlay.redirect": b"/"}),),
    "capabilities of another user": (member(b"f", xattrs={"security.capability": b"\0\0\0\3" + bytes(20)}),),
    "capabilities on a folder": (folder(b"d", xattrs={"security.capability": CAPABILITY}),),
    "huge attribute": (member(b"f", xattrs={"user.x": bytes(5000)}),),
}


@pytest.mark.parametrize("given", REFUSED.values(), ids=REFUSED.keys())
def test_a_layer_that_asks_for_too_much_is_refused(given: tuple[Member, ...]) -> None:
    *before, last = given
    tree = tree_of(*before)
    with pytest.raises(LayerRefused):
        tree.admit(last)


def test_file_capabilities_and_user_attributes_are_kept_and_labels_of_the_builder_are_not() -> None:
    given = {"security.capability": CAPABILITY, "user.note": b"x", "security.selinux": b"system_u"}
    place = LayerTree(DEFAULT_LIMITS).admit(member(b"f", xattrs=given)).place
    assert place and place.xattrs == {"security.capability": CAPABILITY, "user.note": b"x"}


def test_whiteouts_hide_names_below_whatever_their_order() -> None:
    tree = tree_of(
        member(b"a/.wh.gone"),
        member(b"a/.wh.kept"),
        member(b"a/kept"),
        folder(b"d"),
        member(b".wh.d"),
        member(b"o/.wh..wh..opq"),
    )
    assert tree.whiteouts() == [b"a/gone"]
    assert tree.opaque() == [b"d", b"o"]


def test_files_of_aufs_itself_are_passed_over() -> None:
    tree = LayerTree(DEFAULT_LIMITS)
    assert tree.admit(member(b".wh..wh.aufs")).place is None
    assert tree.admit(member(b".wh..wh.plnk/1.2")).place is None
    assert tree.whiteouts() == []


def test_folders_made_on_the_way_count_as_entries() -> None:
    tree = LayerTree(Limits(entries=4))
    tree.admit(member(b"a/b/c/f"))
    with pytest.raises(LimitExceeded):
        tree.admit(member(b"g"))
