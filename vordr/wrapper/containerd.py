"""containerd's store: from a container's id to the layers it is made of, asked by its client ``ctr``.

The container's own snapshot lies on one that is called by the ChainID of the image's layers, a name that
containerd gives when it has unpacked and compared them. The image's name in its record is a tag that may have
moved since, and the annotations are what a user typed: neither is asked. That the bundle's root is the mount
of that very snapshot is read from the kernel.
"""

from __future__ import annotations

import json
import os
import subprocess
from typing import TYPE_CHECKING, Any, Final

from vordr.wrapper.identity import Identity, not_bound
from vordr.wrapper.refusal import Malformed, Unreachable

if TYPE_CHECKING:
    from vordr.wrapper.config import Containerd
    from vordr.wrapper.identity import Bundle

_TASKS: Final = "io.containerd.runtime.v2.task"
_SNAPSHOTTER: Final = "overlayfs"
_CHAIN: Final = "sha256:"
_BOUND: Final = ("lowerdir", "upperdir")


def resolve(daemon: Containerd, bundle: Bundle, ident: str) -> Identity | None:
    """The layers of a container of this containerd; None when the bundle is not of it.

    Raises Malformed, Unreachable, and the refusal "named, not bound".
    """
    tasks = f"{os.path.realpath(daemon.state)}/{_TASKS}/"
    if not bundle.path.startswith(tasks):
        return None
    namespace, _, name = bundle.path[len(tasks):].partition("/")
    if name != ident or not namespace:
        raise Malformed(f"the bundle {bundle.path} is not that of container {ident[:12]}")
    ctr = _Client(daemon, namespace)
    container = ctr.json("containers", "info", ident)
    key = container.get("SnapshotKey")
    if container.get("ID") != ident or container.get("Snapshotter") != _SNAPSHOTTER or not key:
        raise not_bound(bundle, f"the container has no snapshot of {_SNAPSHOTTER}")
    chain = str(ctr.json("snapshots", "--snapshotter", _SNAPSHOTTER, "info", str(key)).get("Parent") or "")
    if len(chain) != len(_CHAIN) + 64 or not chain.startswith(_CHAIN):
        raise not_bound(bundle, "its snapshot does not lie on the layers of an image")
    wanted = mount_options(ctr.text("snapshots", "--snapshotter", _SNAPSHOTTER, "mounts", "/x", str(key)))
    with open("/proc/self/mountinfo") as table:
        mounted = overlay_at(table.read(), bundle.rootfs)
    if not wanted or wanted != mounted:
        raise not_bound(bundle, f"the root {bundle.rootfs} is not the mount of its snapshot")
    return Identity("containerd", chain)


class _Client:
    def __init__(self, daemon: Containerd, namespace: str) -> None:
        self._words = (daemon.ctr, "--address", daemon.address, "--namespace", namespace)

    def text(self, *words: str) -> str:
        try:
            ran = subprocess.run(
                (*self._words, *words), stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
        except OSError as error:
            raise Unreachable(f"{self._words[0]} cannot be run: {error.strerror}") from None
        if ran.returncode != 0:
            raise Unreachable(f"containerd does not tell of the container: {ran.stderr.strip()[:300]}")
        return ran.stdout

    def json(self, *words: str) -> dict[str, Any]:
        try:
            found = json.loads(self.text(*words))
        except ValueError:
            raise Malformed(f"ctr {words[0]} answered with something else than JSON") from None
        if not isinstance(found, dict):
            raise Malformed(f"ctr {words[0]} answered with no object")
        return found


def mount_options(line: str) -> dict[str, str]:
    """The folders of an overlay in what ``ctr snapshots mounts`` prints; empty for other kinds."""
    words = line.split()
    if words[:3] != ["mount", "-t", "overlay"] or "-o" not in words[:-1]:
        return {}
    return _folders(words[words.index("-o") + 1])


def overlay_at(mountinfo: str, place: str) -> dict[str, str]:
    """The folders of the overlay that is mounted last at ``place`` (proc_pid_mountinfo(5)); else empty."""
    found: dict[str, str] = {}
    for line in mountinfo.splitlines():
        mount, _, rest = line.partition(" - ")
        fields = mount.split()
        if len(fields) > 4 and _plain(fields[4]) == place:
            kind, _, options = rest.split(" ", 2)
            found = _folders(_plain(options)) if kind == "overlay" else {}
    return found


def _folders(options: str) -> dict[str, str]:
    pairs = (option.partition("=") for option in options.split(","))
    return {name: value for name, _, value in pairs if name in _BOUND}


def _plain(text: str) -> str:
    """Undo the kernel's escapes of space, tab, newline and backslash."""
    for escape, sign in (("\\040", " "), ("\\011", "\t"), ("\\012", "\n"), ("\\134", "\\")):
        text = text.replace(escape, sign)
    return text
