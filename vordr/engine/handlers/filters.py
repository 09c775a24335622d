"""docker's ``--filter`` keys for lists of containers."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Final

from vordr.model.errors import UsageError
from vordr.model.lifecycle import State
from vordr.model.state import ContainerState

# docker says "exited" where OCI says "stopped"; both are understood.
_STATUS: Final = {"exited": "stopped", "dead": "stopped"}


def _label(container: ContainerState, wanted: str) -> bool:
    key, equals, value = wanted.partition("=")
    labels = container.spec.labels
    return key in labels and (not equals or labels[key] == value)


def _ancestor(container: ContainerState, wanted: str) -> bool:
    name = container.image_name
    return container.image.removeprefix("sha256:").startswith(wanted.removeprefix("sha256:")) or (
        name == wanted or name.rpartition("/")[2] in (wanted, f"{wanted}:latest"))


_LONGEST_PATTERN: Final = 256
_MOST_REPEATS: Final = 2


def _check_pattern(wanted: str) -> None:
    """Refuse what Python's backtracking matcher could spend hours on, holding up everybody: docker's matcher
    (RE2) is linear, so it takes more. With no group repeated and two repeats, the cost is at most cubic.
    """
    bare = re.sub(r"\\[^0-9]|\[\^?\]?[^\]]*\]", "x", wanted, flags=re.DOTALL)
    repeats = len(re.findall(r"[*+?]\??|\{", bare))
    if len(wanted) > _LONGEST_PATTERN or repeats > _MOST_REPEATS or re.search(r"\)[*+?{]|\(\?|\\", bare):
        raise UsageError(
            f"filter name={wanted[:80]!r} is too complex",
            remedy=f"no repeated groups, at most {_MOST_REPEATS} of * + ? {{")


def _name(container: ContainerState, wanted: str) -> bool:
    _check_pattern(wanted)
    try:
        return re.search(wanted, container.name) is not None
    except re.error as error:
        raise UsageError(f"filter name={wanted!r} is not a regular expression: {error}") from error


_KEYS: Final[dict[str, Callable[[ContainerState, str], bool]]] = {
    "id": lambda c, wanted: c.id.startswith(wanted),
    "name": _name,
    "status": lambda c, wanted: str(c.state) == _STATUS.get(wanted, wanted),
    "label": _label,
    "ancestor": _ancestor,
    "exited": lambda c, wanted: c.state is State.STOPPED and str(c.exit_code) == wanted,
}


def keep(container: ContainerState, filters: Mapping[str, tuple[str, ...]]) -> bool:
    """Whether ``container`` passes: all keys, any value of each. Raises UsageError for an unknown key."""
    for key, wanted in filters.items():
        test = _KEYS.get(key)
        if test is None:
            raise UsageError(f"unknown filter {key!r}", remedy=f"one of: {', '.join(_KEYS)}")
        if not any(test(container, value) for value in wanted):
            return False
    return True
