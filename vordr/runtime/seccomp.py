"""The system calls a container may make: vordr/data/seccomp.json as the OCI runtime takes it.

An allow-list for one architecture, the host's: rules for three cost each start 15 ms. What is not listed gets
ENOSYS, so that programs fall back as on an older kernel. Format of the rules: OCI runtime-spec
config-linux.md#seccomp; ``machines`` (uname -m) is ours and limits a rule to these.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Mapping
from importlib import resources
from typing import Any

from vordr.model.errors import ConfigInvalid, RuntimeFailed

_OURS = ("comment", "machines")


def profile(machine: str) -> Mapping[str, Any]:
    """``linux.seccomp`` of config.json for a host of architecture ``machine`` (uname -m).

    The value is shared: do not change it. Raises RuntimeFailed for an architecture without rules.
    """
    return _profile(machine)


@functools.cache
def _profile(machine: str) -> Mapping[str, Any]:
    text = resources.files("vordr").joinpath("data", "seccomp.json").read_text(encoding="utf-8")
    return compile_profile(json.loads(text), machine)


def compile_profile(source: Mapping[str, Any], machine: str) -> dict[str, Any]:
    """Pick the rules of one architecture from ``source``; raises ConfigInvalid when it is not such a file."""
    try:
        architecture = source["architectures"].get(machine)
        if architecture is None:
            raise RuntimeFailed(f"no seccomp rules for architecture {machine}")
        rules = [
            {key: value for key, value in rule.items() if key not in _OURS}
            for rule in source["syscalls"]
            if machine in rule.get("machines", (machine,))
        ]
        return {
            "defaultAction": source["defaultAction"],
            "defaultErrnoRet": source["defaultErrnoRet"],
            "architectures": [architecture],
            "syscalls": rules,
        }
    except (KeyError, AttributeError, TypeError) as error:
        raise ConfigInvalid(f"seccomp rules: {error!r} is missing or of the wrong kind") from error
