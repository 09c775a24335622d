"""Mutants of what mutmut leaves alone: tables, constants, defaults of fields, and properties.

mutmut exchanges functions while a module is in memory, so what runs at the import of a module, and what is
decorated, it does not change. Here mutmut's own mutations of just that are made, each as a whole module text
that the tests of the group import in place of the module (mutated_module.py), in a process of its own. A
mutant that cannot be imported is killed, as one by which a test fails.

    tables.py [--again] [--children N] FILE…   in the folder of a group, which has mutmut's settings

Results stand in tables.json: what a mutant is known by, and whether it was killed.
"""

from __future__ import annotations

import argparse
import configparser
import difflib
import json
import multiprocessing
import os
import sys
import time
from collections.abc import Iterable, Iterator
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from multiprocessing import connection
from multiprocessing.context import ForkProcess
from pathlib import Path
from typing import Final

import hypothesis  # noqa: F401 - tests import it: once, before the forks
import jsonschema  # noqa: F401 - the same
import libcst as cst
import msgspec  # noqa: F401 - the same
import pytest
import without_prose  # noqa: F401 - prose is no mutant here either
from libcst.metadata import MetadataWrapper
from mutmut.mutation.file_mutation import MutationVisitor, OuterFunctionProvider
from mutmut.mutation.mutators import mutation_operators
from mutmut.mutation.pragma_handling import IgnoredCode

_FORK: Final = multiprocessing.get_context("fork")
RESULTS: Final = Path("tables.json")
_HANGS: Final = 120.0
# A test failed, a test module could not be imported, pytest itself could not go on.
_FAILED: Final = {1, 2, 3}


@dataclass(frozen=True)
class TableMutant:
    """``place`` is file and name of what is changed, ``change`` the lines out and in, ``text`` all of it."""

    module: str
    place: str
    change: str
    text: str

    @property
    def key(self) -> tuple[str, str]:
        return self.place, self.change


class _Tables(MutationVisitor):
    """Visits what mutmut does not: not its functions, but those that are decorated."""

    def _skip_node_and_children(self, node: cst.CSTNode) -> bool:
        if isinstance(node, cst.FunctionDef):
            outer = self.get_metadata(OuterFunctionProvider, node, None)
            return not super()._skip_node_and_children(node) and outer in (node, None)
        return super()._skip_node_and_children(node)


def _named(statement: cst.CSTNode) -> str:
    """The name of a class, a function, or of what is assigned."""
    match statement:
        case cst.ClassDef() | cst.FunctionDef():
            return statement.name.value
        case cst.SimpleStatementLine(body=[cst.AnnAssign(target=cst.Name(value=name)), *_]):
            return name
        case cst.SimpleStatementLine(body=[cst.Assign(targets=[cst.AssignTarget(cst.Name(value=name))]), *_]):
            return name
    return ""


def _places(nodes: Iterable[cst.CSTNode], above: str) -> Iterator[tuple[cst.CSTNode, str]]:
    """Every node with ``file.Class.method``, ``file.Class`` or ``file.NAME`` of the statement it is in."""
    for node in nodes:
        inside = isinstance(node, cst.ClassDef | cst.FunctionDef) or "." not in above
        place = f"{above}.{_named(node)}".removesuffix(".") if inside else above
        yield node, place
        yield from _places(node.children, place)


def mutants(path: Path, code: str) -> Iterator[TableMutant]:
    """Every mutant of a module's tables, in the order of the text."""
    wrapper = MetadataWrapper(cst.parse_module(code))
    visitor = _Tables(mutation_operators, IgnoredCode(set(), set(), set()))
    module = wrapper.visit(visitor)
    places = {id(node): place for node, place in _places(module.body, path.stem)}
    for made in visitor.mutations:
        changed = module.deep_replace(made.original_node, made.mutated_node)
        assert isinstance(changed, cst.Module)
        lines = list(difflib.unified_diff(code.splitlines(), changed.code.splitlines(), n=0, lineterm=""))[2:]
        change = "  ".join(line[0] + " " + line[1:].strip() for line in lines if line[:1] in "+-")
        yield TableMutant(str(path), places[id(made.original_node)], change, changed.code)


def _tests(options: list[str], mutant: tuple[str, Path] | None) -> None:
    """In a process of its own: run the group's tests, a module read from a text; ends with pytest's code."""
    sys.dont_write_bytecode = True
    if mutant is not None:
        os.environ["MUTATED_MODULE"], os.environ["MUTATED_TEXT"] = mutant[0], str(mutant[1].resolve())
    with open(os.devnull, "w") as nowhere, redirect_stdout(nowhere), redirect_stderr(nowhere):
        code = pytest.main(options)
    os._exit(code)


def _alive(options: list[str], found: list[TableMutant], children: int) -> Iterator[TableMutant]:
    """Those that no test kills; ``children`` at a time, each in a fork of this process, which has imported
    what they all need and nothing of Vörðr's."""
    texts = Path("tables")
    texts.mkdir(exist_ok=True)
    waiting, running = list(enumerate(found)), dict[ForkProcess, tuple[TableMutant, Path, float]]()
    while waiting or running:
        while waiting and len(running) < children:
            number, mutant = waiting.pop(0)
            text = texts / f"{number}.py"
            text.write_text(mutant.text)
            name = mutant.module.removesuffix(".py").replace("/", ".")
            process = _FORK.Process(target=_tests, args=(options, (name, text)))
            process.start()
            running[process] = mutant, text, time.monotonic() + _HANGS
        connection.wait([process.sentinel for process in running], timeout=1)
        for process, (mutant, text, end) in list(running.items()):
            if process.is_alive() and time.monotonic() < end:
                continue
            hung = process.is_alive()
            process.kill()
            process.join()
            text.unlink()
            del running[process]
            code = process.exitcode
            if not hung and code == 0:
                yield mutant
            elif not hung and code not in _FAILED:
                raise SystemExit(f"pytest ended with {code} at {mutant.place}: {mutant.change}")


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("files", nargs="+", type=Path)
    parser.add_argument("--again", action="store_true")
    parser.add_argument("--children", type=int, default=1)
    asked = parser.parse_args()
    settings = configparser.ConfigParser()
    settings.read("setup.cfg")
    options = ["-x", "-q", "-p", "mutated_module", *settings["mutmut"]["pytest_add_cli_args"].split(),
               *settings["mutmut"]["pytest_add_cli_args_test_selection"].split()]
    unchanged = _FORK.Process(target=_tests, args=(options, None))
    unchanged.start()
    unchanged.join()
    if unchanged.exitcode != 0:
        raise SystemExit(f"without any mutant the tests end with {unchanged.exitcode}")
    before = json.loads(RESULTS.read_text()) if asked.again and RESULTS.exists() else []
    dead = {(one["place"], one["change"]) for one in before if one["killed"]}
    results: list[dict[str, object]] = []
    for path in asked.files:
        found = list(mutants(path, path.read_text()))
        alive = set(_alive(options, [one for one in found if one.key not in dead], asked.children))
        results += [
            {"module": one.module, "place": one.place, "change": one.change, "killed": one not in alive}
            for one in found]
        RESULTS.write_text(json.dumps(results, indent=1))
        print(f"{path}: {len(found)} mutants of tables, {len(alive)} live", flush=True)


if __name__ == "__main__":
    main()
