"""A mixed load: several callers, each with its own containers, who do at random what may be done.

Each says what it was promised: a line per acknowledged act, written before it asks for the next.
"""

from __future__ import annotations

import random
import threading
from collections.abc import Callable
from typing import Any, Final

from failpoint import scenes, soundness
from vordr.engine.local import LocalEngine
from vordr.engine.protocol import Caller
from vordr.model.errors import VordrError
from vordr.model.operations import REGISTRY, Scope

CALLERS: Final = 3
_WISHES: Final[tuple[dict[str, Any], ...]] = (
    {}, {"restart": {"mode": "always"}}, {"auto_remove": True},
    {"command": ["sh", "-c", "sleep 0.05; exit 3"]})


def carry_on(engine: LocalEngine, say: Callable[[str], None], seed: int) -> None:
    """Never returns: somebody kills the process."""
    threads = [threading.Thread(target=_one, args=(engine, say, seed, number)) for number in range(CALLERS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def _one(engine: LocalEngine, say: Callable[[str], None], seed: int, number: int) -> None:
    chance = random.Random(f"{seed} {number}")
    caller = Caller(f"uid:{number + 1000}", Scope.ADMIN)
    names = [f"load-{number}-{n}" for n in range(2)]
    # Whatever acts on a container, the reversals, and "run" more often than the rest.
    operations = [op.name for op in scenes.of_containers()] + ["undo", "redo", "run", "run"]
    while True:
        operation, name = chance.choice(operations), chance.choice(names)
        fields = REGISTRY[operation].args.__struct_fields__
        args: dict[str, Any] = {"container": name, "item": name, "force": True, "timeout": 0,
                                "command": ["true"], "detach": True}
        if "image" in fields:
            args = {**scenes.WISH, **chance.choice(_WISHES), "name": name, "stop_timeout": 1}
        args = {key: value for key, value in args.items() if key in fields}
        if operation == "undo":
            args = {}
        try:
            txn = _ask(engine, caller, operation, args)
        except VordrError:
            continue  # a random act is often one that may not be
        say(f"promised {txn}")


def _ask(engine: LocalEngine, caller: Caller, operation: str, args: dict[str, Any]) -> str:
    answer = soundness.call_as(engine, caller, operation, args)
    return str(answer.receipt.txn)
