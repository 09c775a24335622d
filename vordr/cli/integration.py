"""What makes another engine call ``vordr-runtime``, as blocks of its configuration files. Pure.

A block stands between two marks, so that it can be taken back and the rest of the file stays as it was.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Final

from vordr.formats import toml
from vordr.formats.errors import FormatError
from vordr.model.errors import ConfigInvalid

BEGIN: Final = "# >>> vordr system integrate"
END: Final = "# <<< vordr system integrate"
GATE: Final = "/etc/vordr/runtime.toml"


@dataclass(frozen=True)
class Gate:
    """``launcher`` is vordr-runtime, ``runtime`` the real one, ``python`` the interpreter, ``root`` the root
    folder of the Vörðr that is asked: absolute paths."""

    launcher: str
    runtime: str
    python: str
    root: str


@dataclass(frozen=True)
class Block:
    """``text`` belongs into the file ``path``; a file that is not there yet begins with ``preamble``.
    ``after`` is what makes its engine read it."""

    path: str
    text: str
    preamble: str = ""
    after: str = ""


def gate_block(gate: Gate) -> Block:
    """The gate's own configuration; the launcher reads it line by line, so it has this very form."""
    for value in (gate.launcher, gate.runtime, gate.python, gate.root):
        if not value.isprintable() or '"' in value or "\\" in value:
            raise ConfigInvalid(f"{value!r} cannot be written into a configuration")
    return Block(GATE, f'runtime = "{gate.runtime}"\npython = "{gate.python}"\nroot = "{gate.root}"\n')


def engine_block(engine: str, gate: Gate) -> Block:
    """What makes vordr-runtime the default runtime of ``engine``: podman, containerd or crio."""
    path = json.dumps(gate.launcher)
    match engine:
        case "podman":
            return Block(
                "/etc/containers/containers.conf.d/50-vordr.conf",
                f'[engine]\nruntime = "vordr"\n\n[engine.runtimes]\nvordr = [{path}]\n',
                after="podman reads it at its next call")
        case "containerd":
            cri = 'plugins."io.containerd.grpc.v1.cri".containerd'
            return Block(
                "/etc/containerd/config.toml",
                f'[{cri}]\ndefault_runtime_name = "vordr"\n\n'
                f'[{cri}.runtimes.vordr]\nruntime_type = "io.containerd.runc.v2"\n\n'
                f"[{cri}.runtimes.vordr.options]\nBinaryName = {path}\n",
                preamble="version = 2\n", after="systemctl restart containerd")
        case "crio":
            return Block(
                "/etc/crio/crio.conf.d/50-vordr.conf",
                '[crio.runtime]\ndefault_runtime = "vordr"\n\n'
                f'[crio.runtime.runtimes.vordr]\nruntime_path = {path}\nruntime_type = "oci"\n'
                'runtime_root = "/run/runc"\n',
                after="systemctl restart crio")
    raise ValueError(engine)


def with_block(present: str | None, block: Block) -> str:
    """The file's text with the block in it, in the place of an earlier one.

    Raises ConfigInvalid when the whole would not be read as meant: the file has tables of its own that the
    block must be merged into by hand.
    """
    rest = block.preamble if present is None else without_block(present)
    if rest and not rest.endswith("\n"):
        rest += "\n"
    whole = f"{rest}{BEGIN}\n{block.text}{END}\n"
    try:
        table = toml.loads(whole, block.path)
    except FormatError as error:
        raise ConfigInvalid(
            f"{block.path} has settings of its own beside which ours cannot stand: {error.message}",
            remedy=f"merge by hand what 'vordr system integrate' prints into {block.path}") from None
    if block.preamble and table.get("version") != 2:
        raise ConfigInvalid(
            f"{block.path} is not of version 2", remedy="containerd config migrate, then once more")
    return whole


def without_block(present: str) -> str:
    """The file's text without the block. Raises ConfigInvalid when its marks do not belong together."""
    if BEGIN not in present and END not in present:
        return present
    before, begin, rest = present.partition(f"{BEGIN}\n")
    _, end, after = rest.partition(f"{END}\n")
    if not begin or not end or BEGIN in after or END in before + after:
        raise ConfigInvalid("the marks of 'vordr system integrate' are damaged", remedy="mend them by hand")
    return before + after


def is_empty(rest: str, block: Block) -> bool:
    """Whether nothing but what we began the file with is left of it."""
    return rest.strip() in ("", block.preamble.strip())
