"""Which software an image holds, as its own files say: package databases of dpkg, apk and rpm, metadata of
Python distributions and Node packages, and what Go's linker wrote into programs.

Layers are read bottom up, whiteouts heeded (OCI image-spec, layer.md): what an upper layer hides or replaces
is not listed. A layer that cannot be read leaves the whole list empty, because nobody knows what it hides; a
single file that cannot be read is named in the comment.
"""

from __future__ import annotations

import posixpath
import tarfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Final

from vordr.gatekeeper import readers
from vordr.gatekeeper.checked import Readable
from vordr.gatekeeper.layertar import LayerUnreadable, ReadMember, members
from vordr.gatekeeper.readers import Told, Unlisted, reader_of
from vordr.gatekeeper.software import Distribution, Package
from vordr.gatekeeper.subject import Blob

MOST_PACKAGES: Final = 20_000
_MOST_FAULTS: Final = 20
_WHITEOUT, _OPAQUE = ".wh.", ".wh..wh..opq"

OpenBlob = Callable[[str], AbstractContextManager[Readable]]
"""Digest → its stored bytes, closed by leaving them."""


@dataclass(frozen=True)
class Inventory:
    """``packages`` in order, each once; ``comment`` says how the list came about, or why it is empty."""

    packages: tuple[Package, ...]
    comment: str
    distribution: Distribution | None = None


NOT_READ: Final = Inventory((), "The layers were not searched for software.")


@dataclass(frozen=True)
class _Found:
    """What a file told and by which kind of reader; or why it tells nothing."""

    source: str
    told: Told = ()
    fault: str = ""


@dataclass
class _Tree:
    """What has been found, by path, and the folders above it."""

    found: dict[str, _Found] = field(default_factory=dict)
    above: dict[str, int] = field(default_factory=dict)

    def put(self, path: str, found: _Found) -> None:
        if path not in self.found:
            for folder in _folders(path):
                self.above[folder] = self.above.get(folder, 0) + 1
        self.found[path] = found

    def drop(self, path: str) -> None:
        if self.found.pop(path, None) is not None:
            for folder in _folders(path):
                self.above[folder] -= 1
                if not self.above[folder]:
                    del self.above[folder]

    def drop_below(self, folder: str) -> None:
        """All within ``folder`` ("": everything)."""
        if not folder or folder in self.above:
            for path in [path for path in self.found if not folder or path.startswith(folder + "/")]:
                self.drop(path)


def inventory(layers: Iterable[Blob], open_blob: OpenBlob) -> Inventory:
    """The software in an image with these layers, bottom first. ``open_blob`` gives the stored bytes of a
    digest; they are read to their end. What a layer holds raises nothing: the comment says what could not be
    read. What ``open_blob`` and its streams raise passes through, but for OSError."""
    tree = _Tree()
    try:
        for layer in layers:
            with open_blob(layer.digest) as stream:
                _apply(tree, layer, stream)
    except LayerUnreadable as error:
        return Inventory((), f"Packages are not listed: {error}.")
    except OSError as error:
        return Inventory((), f"Packages are not listed: a layer cannot be read: {error.strerror}.")
    return _summary(tree.found)


def _apply(tree: _Tree, layer: Blob, stream: Readable) -> None:
    """Make ``tree`` what it is with ``layer`` on top. Whiteouts hide what is in lower layers alone, wherever
    in the layer they stand; so what the layer adds is put in last."""
    added: dict[str, _Found | None] = {}
    for member, read in members(layer, stream):
        path = posixpath.normpath("/" + member.name).lstrip("/")
        folder, name = posixpath.split(path)
        if name == _OPAQUE:
            tree.drop_below(folder)
        elif name.startswith(_WHITEOUT):
            hidden = posixpath.join(folder, name.removeprefix(_WHITEOUT))
            tree.drop(hidden)
            tree.drop_below(hidden)
        elif not member.isdir():
            found = _look(path, member, read, added, tree.found)
            if member.issym() and path in tree.above:
                found = _Found("", fault=f"what lies behind /{path}, a folder that became a link")
            tree.drop_below(path)
            if found is not None or path in tree.found or path in added:
                added[path] = found
        elif path in tree.found or path in added:
            added[path] = None
        if len(added) > MOST_PACKAGES:
            raise LayerUnreadable(f"layer {layer.digest} tells of more than {MOST_PACKAGES} packages")
    for path, found in added.items():
        if found is None:
            tree.drop(path)
        else:
            tree.put(path, found)


def _look(
    path: str, member: tarfile.TarInfo, read: ReadMember, added: Mapping[str, _Found | None],
    below: Mapping[str, _Found],
) -> _Found | None:
    """What the member at ``path`` tells; None for nothing, as most."""
    reader = reader_of(path, member.mode)
    if reader is None:
        return None
    if member.islnk():
        target = posixpath.normpath("/" + member.linkname).lstrip("/")
        return added[target] if target in added else below.get(target)
    if not member.isreg():
        fault = f"/{path} is not a regular file" if path in readers.DATABASES else ""
        return _Found(reader.name, fault=fault) if fault else None
    try:
        told, odd = readers.checked(reader.read(read), path)
    except Unlisted as error:
        return _Found(reader.name, fault=f"/{path} {error}")
    if not told and not odd:
        return None
    fault = f"/{path} has {odd} packages with a name that cannot be shown" if odd else ""
    return _Found(reader.name, told, fault)


def _folders(path: str) -> Iterator[str]:
    """The folders above a path, from the nearest up."""
    while path := posixpath.dirname(path):
        yield path


# -- telling ---------------------------------------------------------------------------------------


def _summary(found: Mapping[str, _Found]) -> Inventory:
    listed: dict[Package, None] = {}
    for one in found.values():
        if isinstance(one.told, tuple):
            listed.update(dict.fromkeys(one.told))
    if len(listed) > MOST_PACKAGES:
        return Inventory((), f"Packages are not listed: there are more than {MOST_PACKAGES}.")
    faults = [one.fault for one in found.values() if one.fault]
    return Inventory(tuple(sorted(listed)), " ".join(_sentences(found, faults)), _distribution(found))


def _sentences(found: Mapping[str, _Found], faults: list[str]) -> Iterator[str]:
    sources = {one.source for one in found.values() if isinstance(one.told, tuple) and one.told}
    if sources:
        yield f"Software as told by the image's own {', '.join(sorted(sources))}; nothing else is listed."
    else:
        yield "No package database and no metadata of packages was found in the image."
    if faults:
        yield f"Not read: {'; '.join(faults[:_MOST_FAULTS])}."
    if len(faults) > _MOST_FAULTS:
        yield f"And {len(faults) - _MOST_FAULTS} more."


def _distribution(found: Mapping[str, _Found]) -> Distribution | None:
    for path in ("etc/os-release", "usr/lib/os-release"):
        one = found.get(path)
        if one is not None and isinstance(one.told, Distribution):
            return one.told
    return None
