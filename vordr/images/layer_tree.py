"""The rules of a layer's tar, decided purely: where a member may go, and what whiteouts mean.

The folder a layer unpacks into starts empty and nobody else writes to it, so everything about it is known
from the members before. A member is admitted only when every folder above it is a real folder of this
layer, never a symlink; so no write can leave the layer, whatever the links in it say.

Rules of image-spec layer.md; stricter: no absolute names, no "..", no second entry for what is not a
folder, no device nodes, no attributes that would speak to overlayfs.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum, auto
from typing import Final

from vordr.images.decompress import LimitExceeded
from vordr.images.limits import Limits
from vordr.images.tarstream import Member, Type

_WHITEOUT: Final = b".wh."
_META: Final = b".wh..wh."
_OPAQUE: Final = b".wh..wh..opq"
_LARGEST_ID: Final = 2**32 - 2
_CAPABILITY: Final = "security.capability"
_LARGEST_XATTR: Final = 2048
_DEEPEST: Final = 256
_LONGEST: Final = 4095
"""Bytes of a path that the kernel takes, with the slash of the layer's root before it (PATH_MAX less NUL)."""


class LayerRefused(ValueError):
    """The tar asks for what no layer may have."""


class Kind(Enum):
    """What is at a path of the layer."""

    FOLDER = auto()
    FILE = auto()
    SYMLINK = auto()
    FIFO = auto()


@dataclass(frozen=True)
class Place:
    """Where a member goes: ``path`` relative to the layer's root (b"" is the root itself).

    ``exists`` says the folder is there already. ``link`` is the vetted path of a hard link's target.
    """

    path: bytes
    exists: bool
    link: bytes | None
    xattrs: Mapping[str, bytes]


@dataclass(frozen=True)
class Admitted:
    """What to do for a member: make the folders that nobody named before, outermost first, then the member.

    ``place`` is None for a whiteout, which is decided at the end, and for aufs' own files.
    """

    parents: tuple[bytes, ...]
    place: Place | None


_KINDS: Final = {
    Type.FILE: Kind.FILE, Type.DIRECTORY: Kind.FOLDER, Type.SYMLINK: Kind.SYMLINK, Type.FIFO: Kind.FIFO,
}


class LayerTree:
    """What the members so far have made."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._kinds: dict[bytes, Kind] = {b"": Kind.FOLDER}
        self._whiteouts: set[bytes] = set()
        self._opaque: set[bytes] = set()
        self.entries = 0

    def admit(self, member: Member) -> Admitted:
        """What to do for the next member. Raises LayerRefused and LimitExceeded."""
        self._count(1)
        parts = _parts(member.name)
        if not 0 <= member.uid <= _LARGEST_ID or not 0 <= member.gid <= _LARGEST_ID:
            raise LayerRefused(f"{_shown(member.name)} has the owner {member.uid}:{member.gid}")
        if not parts:
            if member.type is not Type.DIRECTORY:
                raise LayerRefused("the root of a layer must be a folder")
            return Admitted((), Place(b"", True, None, _xattrs(member)))
        if any(part.startswith(_META) for part in parts[:-1]):
            return Admitted((), None)
        if any(part.startswith(_WHITEOUT) for part in parts[:-1]):
            raise LayerRefused(f"{_shown(member.name)} lies in a whiteout")
        if parts[-1].startswith(_WHITEOUT):
            return Admitted(self._whiteout(parts, member), None)
        return self._place(parts, member)

    def whiteouts(self) -> list[bytes]:
        """Paths to hide, once all members are read: those that this layer does not hold itself."""
        return sorted(path for path in self._whiteouts if path not in self._kinds)

    def opaque(self) -> list[bytes]:
        """Folders that hide all of their like below; a folder both hidden and made anew is one, too."""
        anew = {path for path in self._whiteouts if self._kinds.get(path) is Kind.FOLDER}
        return sorted(self._opaque | anew)

    def _whiteout(self, parts: list[bytes], member: Member) -> tuple[bytes, ...]:
        name = parts[-1]
        if name.startswith(_META) and name != _OPAQUE:
            return ()
        if member.type is not Type.FILE or member.size:
            raise LayerRefused(f"the whiteout {_shown(member.name)} must be an empty file")
        folder = b"/".join(parts[:-1])
        if name == _OPAQUE:
            self._opaque.add(folder)
        else:
            hidden = name[len(_WHITEOUT):]
            if hidden in (b"", b".", b".."):
                raise LayerRefused(f"{_shown(member.name)} hides nothing that can exist")
            self._whiteouts.add(folder + b"/" + hidden if folder else hidden)
        return self._need_folder(folder, member)

    def _place(self, parts: list[bytes], member: Member) -> Admitted:
        path = b"/".join(parts)
        if member.type in (Type.CHARACTER_DEVICE, Type.BLOCK_DEVICE):
            raise LayerRefused(f"{_shown(path)} is a device node, which the runtime alone may make")
        there = self._kinds.get(path)
        if there is not None and not (there is Kind.FOLDER and member.type is Type.DIRECTORY):
            raise LayerRefused(f"{_shown(path)} is in the layer twice")
        parents = self._need_folder(b"/".join(parts[:-1]), member)
        link, kind = None, _KINDS.get(member.type)
        if kind is None:
            link, kind = self._hard_link(path, member)
        if kind is Kind.SYMLINK and not 0 < len(member.link) < 4096:
            raise LayerRefused(f"the symlink {_shown(path)} has a target of {len(member.link)} bytes")
        self._kinds[path] = kind
        return Admitted(parents, Place(path, there is not None, link, _xattrs(member)))

    def _hard_link(self, path: bytes, member: Member) -> tuple[bytes, Kind]:
        target = b"/".join(_parts(member.link))
        kind = self._kinds.get(target)
        if kind not in (Kind.FILE, Kind.SYMLINK):
            raise LayerRefused(f"hard link {_shown(path)}: no earlier file {_shown(member.link)}")
        return target, kind

    def _need_folder(self, folder: bytes, member: Member) -> tuple[bytes, ...]:
        """Make sure that ``folder`` and all above it are folders; returns those that must be made."""
        if self._kinds.get(folder) is Kind.FOLDER:
            return ()
        missing, parts = [], folder.split(b"/")
        for depth in range(1, len(parts) + 1):
            path = b"/".join(parts[:depth])
            there = self._kinds.get(path)
            if there is None:
                missing.append(path)
            elif there is not Kind.FOLDER:
                raise LayerRefused(f"{_shown(member.name)} goes through {_shown(path)}, which is no folder")
        self._count(len(missing))
        for path in missing:
            self._kinds[path] = Kind.FOLDER
        return tuple(missing)

    def _count(self, more: int) -> None:
        self.entries += more
        if self.entries > self._limits.entries:
            raise LimitExceeded(f"the layer has more than {self._limits.entries} entries")


def _parts(name: bytes) -> list[bytes]:
    """The components of a member's name without "." and trailing slashes; refuses what would leave the
    layer.
    """
    if name.startswith(b"/"):
        raise LayerRefused(f"{_shown(name)} is an absolute name")
    if not name or len(name) > 4096:
        raise LayerRefused(f"a name of {len(name)} bytes")
    parts = [part for part in name.split(b"/") if part not in (b"", b".")]
    if b".." in parts:
        raise LayerRefused(f"{_shown(name)} goes up with ..")
    if any(len(part) > 255 for part in parts):
        raise LayerRefused(f"{_shown(name)} has a component of more than 255 bytes")
    if len(parts) > _DEEPEST:
        raise LayerRefused(f"{_shown(name)} lies more than {_DEEPEST} folders deep")
    if sum(len(part) + 1 for part in parts) > _LONGEST:
        raise LayerRefused(f"{_shown(name)} makes a path of more than {_LONGEST} bytes")
    if b"\0" in name:
        raise LayerRefused(f"{_shown(name)} holds a NUL byte")
    return parts


def _xattrs(member: Member) -> dict[str, bytes]:
    """The extended attributes to keep: file capabilities, and what users set for themselves.

    ``trusted.*`` would speak to overlayfs (redirects, metacopies): refused. Labels of the builder's own
    security modules (security.selinux, security.ima) mean nothing here: left out, as docker does.
    """
    kept = {}
    for key, value in member.xattrs.items():
        if key.startswith("trusted."):
            raise LayerRefused(f"{_shown(member.name)} carries the attribute {key}, reserved for the host")
        if key == _CAPABILITY:
            # Revision 3 names a user of the builder's host; revision 2 is bound to whoever is root here.
            if len(value) != 20 or value[3:4] != b"\x02" or member.type is not Type.FILE:
                raise LayerRefused(f"{_shown(member.name)} has file capabilities that are not of revision 2")
            kept[key] = value
        elif key.startswith("user.") and member.type in (Type.FILE, Type.DIRECTORY):
            if len(key.encode()) > 255 or len(value) > _LARGEST_XATTR:
                raise LayerRefused(f"{_shown(member.name)} has an attribute that is too long")
            kept[key] = value
    return kept


def _shown(name: bytes) -> str:
    return repr(name[:120].decode(errors="backslashreplace"))
