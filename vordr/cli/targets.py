"""Doing one thing to several containers or images, as docker does: each is tried, errors come at the end."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from vordr.cli import shapes
from vordr.cli.context import Session
from vordr.cli.failure import report
from vordr.cli.output import print_json
from vordr.model.errors import VordrError


def for_each(session: Session, targets: Iterable[str], act: Callable[[str], Any]) -> int:
    """``act`` on each target; prints its name (in ``--json`` mode a line with what was done) or its error.

    Answers the exit code: 0, or that of the first error.
    """
    code = 0
    for target in targets:
        try:
            answer = act(target)
        except VordrError as error:
            failed = report(error, session)
            code = code or failed
            continue
        if session.json:
            print_json(act_json(answer))
        else:
            print(target)
    return code


def act_json(answer: Any) -> dict[str, Any]:
    """What an act answered: the container or image it left, and its receipt."""
    shown: dict[str, Any] = {}
    if hasattr(answer, "container"):
        shown["container"] = shapes.container_info(answer.container)
    if hasattr(answer, "image"):
        shown["image"] = shapes.docker_image(answer.image)
    if hasattr(answer, "receipt"):
        shown["receipt"] = shapes.receipt(answer.receipt)
    return shown
