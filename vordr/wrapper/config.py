"""``runtime.toml``: which runtime is gated, whose containers, and which service is asked. Strict.

The launcher reads ``runtime`` and ``python`` from it too, line by line: so they stand first, as
``key = "value"``.
"""

from __future__ import annotations

import os
import stat
from typing import Any, Final, NamedTuple

from vordr.formats import toml
from vordr.wrapper.refusal import Malformed

_DIGEST: Final = "sha256:"
_HEX: Final = frozenset("0123456789abcdef")
_LARGEST: Final = 64 * 1024
_LONGEST_DEADLINE: Final = 60


class Store(NamedTuple):
    """A root and run root folder of containers/storage: podman's or CRI-O's."""

    root: str
    run: str


class Containerd(NamedTuple):
    """A containerd's state folder, its socket, and the client by which it is asked."""

    state: str
    address: str
    ctr: str


class Config(NamedTuple):
    """``root`` is the root folder of the Vörðr that is asked; ``deadline`` in seconds, for the whole judging.
    ``sandboxes`` are digests of pause images that need no verdict. ``runtime`` None: what the launcher finds.
    """

    runtime: str | None = None
    root: str = "/var/lib/vordr"
    deadline: int = 10
    sandboxes: frozenset[str] = frozenset()
    stores: tuple[Store, ...] = (Store("/var/lib/containers/storage", "/run/containers/storage"),)
    containerd: tuple[Containerd, ...] = (
        Containerd("/run/containerd", "/run/containerd/containerd.sock", "/usr/bin/ctr"),)


def load(path: str) -> Config:
    """The configuration in ``path``, the defaults where there is none. Raises Malformed, also for a file that
    others than root and this user may write."""
    try:
        with open(path, "rb") as file:
            held = os.fstat(file.fileno())
            raw = file.read(_LARGEST + 1)
    except FileNotFoundError:
        return Config()
    except OSError as error:
        raise Malformed(f"{path} cannot be read: {error.strerror}") from None
    if len(raw) > _LARGEST or not guarded(held):
        raise Malformed(f"{path} may be written by others, or is larger than {_LARGEST} bytes")
    try:
        return parse(raw.decode())
    except (ValueError, Malformed) as error:
        raise Malformed(f"{path}: {getattr(error, 'message', error)}") from None


def guarded(held: os.stat_result) -> bool:
    """Whether only root, or who runs this, may write it."""
    return held.st_uid in (0, os.geteuid()) and not stat.S_IMODE(held.st_mode) & 0o022


def parse(text: str) -> Config:
    """Raises Malformed, or ValueError (FormatError) for what is no TOML."""
    table = toml.loads(text, "configuration")
    table.pop("python", None)  # the launcher's own
    taken: dict[str, Any] = {}
    for key, value in table.items():
        match key:
            case "runtime" | "root":
                taken[key] = _path(key, value)
            case "deadline":
                if type(value) is not int or not 1 <= value <= _LONGEST_DEADLINE:
                    raise Malformed(f"deadline must be from 1 to {_LONGEST_DEADLINE} seconds")
                taken[key] = value
            case "sandboxes":
                taken[key] = frozenset(_digest(one) for one in _list(key, value))
            case "stores":
                taken[key] = tuple(Store(**_fields(key, one, Store._fields)) for one in _list(key, value))
            case "containerd":
                taken[key] = tuple(
                    Containerd(**_fields(key, one, Containerd._fields)) for one in _list(key, value))
            case _:
                raise Malformed(f"unknown key {key!r}")
    return Config(**taken)


def _list(key: str, value: Any) -> list[Any]:
    if not isinstance(value, list):
        raise Malformed(f"{key} must be a list")
    return value


def _fields(key: str, value: Any, names: tuple[str, ...]) -> dict[str, str]:
    if not isinstance(value, dict) or set(value) != set(names):
        raise Malformed(f"each of {key} has exactly {', '.join(names)}")
    return {name: _path(f"{key}.{name}", value[name]) for name in names}


def _path(key: str, value: Any) -> str:
    if not isinstance(value, str) or not value.startswith("/") or "\0" in value:
        raise Malformed(f"{key} must be an absolute path")
    return value.rstrip("/") or "/"


def _digest(value: Any) -> str:
    hexes = value.removeprefix(_DIGEST) if isinstance(value, str) else ""
    if len(hexes) != 64 or not set(hexes) <= _HEX or value != _DIGEST + hexes:
        raise Malformed(f"sandboxes holds {value!r}, which is not sha256: and 64 digits")
    return str(value)
