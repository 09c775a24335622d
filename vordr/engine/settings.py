"""``vordr.toml`` in the root folder: how this instance behaves. Strict: what is not known is refused.

What may run is not here but in ``trust/policy.toml``, which the gatekeeper reads.
"""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any, Final

from vordr.formats import toml
from vordr.formats.errors import FormatError
from vordr.model.errors import ConfigInvalid, ConfigUnparsable

_LARGEST_FILE: Final = 64 * 1024


@dataclass(frozen=True)
class Settings:
    """``trash_days``: how long what was removed can come back. ``runtime``: auto, runc or crun.

    ``effect_workers``: how many effects (mounts, starts, signals) run side by side. ``log_megabytes``:
    beyond this size a container's log begins anew.
    """

    trash_days: int = 30
    runtime: str = "auto"
    effect_workers: int = 64
    log_megabytes: int = 256


_BOUNDS: Final = {"trash_days": (1, 3650), "effect_workers": (2, 512), "log_megabytes": (1, 1_000_000)}
_RUNTIMES: Final = ("auto", "runc", "crun")


def load(path: Path) -> Settings:
    """The settings in ``path``; the defaults when there is no file.

    Raises ConfigUnparsable (not TOML, not UTF-8) or ConfigInvalid (unknown key, wrong value), with the file.
    """
    try:
        raw = path.read_bytes()
    except FileNotFoundError:
        return Settings()
    except OSError as error:
        raise ConfigInvalid(f"{path}: cannot be read: {error.strerror}") from error
    if len(raw) > _LARGEST_FILE:
        raise ConfigInvalid(f"{path}: larger than {_LARGEST_FILE} bytes")
    try:
        return parse(raw.decode("utf-8"), str(path))
    except UnicodeDecodeError as error:
        raise ConfigUnparsable(f"{path}: not UTF-8 at byte {error.start}") from error


def parse(text: str, place: str = "vordr.toml") -> Settings:
    """The settings written in ``text``; ``place`` names it in errors. Raises as :func:`load`."""
    try:
        table = toml.loads(text, place)
    except FormatError as error:
        raise ConfigUnparsable(str(error), remedy=f"mend or remove {place}") from error
    known = [field.name for field in fields(Settings)]
    for key, value in table.items():
        if key not in known:
            raise ConfigInvalid(
                f"{place}: unknown key {key!r}", remedy=f"the keys are: {', '.join(known)}",
                details={"key": key})
        _check(key, value, place)
    return replace(Settings(), **table)


def _check(key: str, value: Any, place: str) -> None:
    if key == "runtime":
        if value not in _RUNTIMES:
            raise ConfigInvalid(
                f"{place}: runtime must be one of {', '.join(_RUNTIMES)}, not {value!r}",
                details={"key": key})
        return
    least, most = _BOUNDS[key]
    if not isinstance(value, int) or isinstance(value, bool) or not least <= value <= most:
        raise ConfigInvalid(
            f"{place}: {key} must be a number from {least} to {most}, not {value!r}", details={"key": key})
