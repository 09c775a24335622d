"""Names for containers that nobody named: an adjective and a figure of the old tales."""

from __future__ import annotations

import secrets
from typing import Any, Final

from vordr.model.records import name_key

_MANNERS: Final = (
    "calm", "keen", "brave", "quiet", "swift", "wise", "steady", "bright", "gentle", "proud", "lucid",
    "merry", "noble", "patient", "sober", "vivid", "warm", "candid", "deft", "eager",
)
_FIGURES: Final = (
    "odin", "frigg", "thor", "sif", "baldr", "nanna", "heimdall", "tyr", "bragi", "idunn", "freyr", "freyja",
    "njord", "skadi", "ullr", "vidar", "hermod", "mimir", "saga", "eir", "var", "vor", "snotra", "gefjon",
)


def free_name(journal: Any) -> str:
    """A name that no container has; a number follows when the tales run out."""
    for attempt in range(64):
        name = f"{secrets.choice(_MANNERS)}_{secrets.choice(_FIGURES)}"
        if attempt >= 8:
            name += str(secrets.randbelow(100_000))
        if journal.get(name_key(name)) is None:
            return name
    return secrets.token_hex(8)
