"""``vordr-hook``: the gate as an OCI hook (runtime-spec config.md, prestart and createRuntime).

The container's state comes on standard input; exits 0 allow, 1 reject, 2 malformed, 3 nobody to ask. Every
code but 0 keeps the container from being made. What it cannot do and the wrapper can: a hook is set by
whoever writes config.json, so it binds only callers that add it to every container.
"""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Any, Final

from vordr.wrapper.asking import begin_deadline, end_deadline
from vordr.wrapper.config import load
from vordr.wrapper.judging import judge
from vordr.wrapper.refusal import Malformed, Refusal, Unreachable

if TYPE_CHECKING:
    from collections.abc import Sequence

ALLOW, REJECT, MALFORMED, NETWORK = 0, 1, 2, 3
DEFAULT_CONFIG: Final = "/etc/vordr/runtime.toml"
_LARGEST_STATE: Final = 1024 * 1024


def main(arguments: Sequence[str]) -> int:
    """``arguments``: nothing, or ``--config FILE``. Answers the exit code."""
    try:
        config = load(_place(arguments))
        begin_deadline(config.deadline)
        try:
            ident, bundle = _state(sys.stdin.buffer.read(_LARGEST_STATE + 1))
            judge(config, bundle, ident)
        finally:
            end_deadline()
    except Refusal as refusal:
        print(refusal, file=sys.stderr)
        match refusal:
            case Malformed():
                return MALFORMED
            case Unreachable():
                return NETWORK
        return REJECT
    return ALLOW


def _place(arguments: Sequence[str]) -> str:
    match list(arguments):
        case []:
            return DEFAULT_CONFIG
        case ["--config", str(place)]:
            return place
    raise Malformed("usage: vordr-hook [--config FILE], with the container's state on standard input")


def _state(raw: bytes) -> tuple[str, str]:
    """The id and bundle of a container's state (runtime-spec runtime.md, State). Raises Malformed."""
    if len(raw) > _LARGEST_STATE:
        raise Malformed(f"the state is larger than {_LARGEST_STATE} bytes")
    try:
        state: Any = json.loads(raw)
    except (ValueError, RecursionError):
        raise Malformed("the state on standard input is not JSON") from None
    if not isinstance(state, dict):
        raise Malformed("the state is no object")
    ident, bundle = state.get("id"), state.get("bundle")
    if not isinstance(ident, str) or not ident or not isinstance(bundle, str) or not bundle.startswith("/"):
        raise Malformed("the state has no id and absolute bundle")
    return ident, bundle
