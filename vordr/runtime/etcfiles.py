"""/etc/hosts, /etc/hostname and /etc/resolv.conf of a container: files of its folder, bound into it.

As docker does it, so that no image is changed and each container has its own. They belong to the container's
root, which may edit them; a restart writes them anew.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

from vordr.model.paths import Paths
from vordr.model.spec import ContainerSpec, IdRange, NetworkMode

TARGETS: Final = ("hosts", "hostname", "resolv.conf")
_HOSTS: Final = (
    "127.0.0.1\tlocalhost\n"
    "::1\tlocalhost ip6-localhost ip6-loopback\n"
    "fe00::\tip6-localnet\n"
    "ff00::\tip6-mcastprefix\n"
    "ff02::1\tip6-allnodes\n"
    "ff02::2\tip6-allrouters\n"
)
# A host with systemd-resolved lists its local stub in the first; the servers behind it are in the second.
_RESOLVERS: Final = (Path("/etc/resolv.conf"), Path("/run/systemd/resolve/resolv.conf"))


def hostname(spec: ContainerSpec, container: str, nodename: str) -> str:
    """The container's host name: the one asked for, else its short id; on the host's network the host's."""
    if spec.hostname is not None:
        return spec.hostname
    return nodename if spec.network is NetworkMode.HOST else container[:12]


def write_etc_files(paths: Paths, container: str, spec: ContainerSpec, ids: IdRange) -> Path:
    """Write the three files for the next start and return their folder, as :func:`ociconfig.build` takes it.

    Raises OSError when the folder cannot be written.
    """
    # Not below /run: that is often the host's memory, and the container's root may write what it likes.
    folder = paths.container(container) / "etc"
    folder.mkdir(mode=0o711, parents=True, exist_ok=True)
    name = hostname(spec, container, os.uname().nodename)
    own_line = f"127.0.1.1\t{name}\n" if name != "localhost" else ""
    texts = {"hosts": _HOSTS + own_line, "hostname": name + "\n", "resolv.conf": _resolver(spec.network)}
    for target in TARGETS:
        _write(folder / target, texts[target], ids)
    return folder


def _resolver(network: NetworkMode) -> str:
    """The host's name servers on its network; without a network there are none to ask."""
    if network is not NetworkMode.HOST:
        return "# no network\n"
    for path in _RESOLVERS:
        try:
            return path.read_text(encoding="utf-8", errors="replace")
        except OSError:
            continue
    return ""


def _write(path: Path, text: str, ids: IdRange) -> None:
    """Replace the file: what an earlier run of the container left may be bound into it still."""
    fresh = path.with_name(f".{path.name}")
    fresh.write_text(text, encoding="utf-8")
    fresh.chmod(0o644)
    os.chown(fresh, ids.first, ids.first)
    fresh.rename(path)
