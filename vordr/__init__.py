"""Vörðr: a container engine that verifies every start, can undo what it did, and keeps the record."""

from __future__ import annotations

TYPE_CHECKING = False  # not typing's, whose import takes longer than a short command has
if TYPE_CHECKING:
    from typing import Any

    from vordr.engine import Container, Engine

__version__ = "0.1.0"
__all__ = ["Container", "Engine", "__version__"]


def __getattr__(name: str) -> Any:
    # The command line imports this package at every keystroke: the engine is loaded when it is wanted.
    if name in {"Engine", "Container"}:
        import vordr.engine

        return getattr(vordr.engine, name)
    raise AttributeError(name)
