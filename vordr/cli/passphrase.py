"""Where a passphrase comes from: a prompt, or a file. Never the command line, which others can read."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

from vordr.model.errors import UsageError

F = TypeVar("F", bound=Callable[..., Any])


def passphrase_options(function: F) -> F:
    """``--passphrase`` (ask) and ``--passphrase-file FILE`` (``-``: standard input)."""
    function = click.option(
        "--passphrase-file", type=click.Path(path_type=Path, allow_dash=True), metavar="FILE",
        help="Read the key's passphrase from a file ('-': standard input).")(function)
    return click.option("--passphrase", "ask", is_flag=True, help="Ask for the key's passphrase.")(function)


def passphrase(ask: bool, file: Path | None, *, new: bool = False) -> str | None:
    """The passphrase, without its line end; None when none was wanted. ``new`` asks twice."""
    if file is not None:
        try:
            text = sys.stdin.readline() if str(file) == "-" else file.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise UsageError(f"cannot read --passphrase-file {file}: {error}") from None
        found = text.splitlines()[0] if text else ""
        if not found:
            raise UsageError(f"--passphrase-file {file} is empty")
        return found
    if not ask:
        return None
    typed: str = click.prompt("Passphrase", hide_input=True, confirmation_prompt=new, err=True)
    return typed
