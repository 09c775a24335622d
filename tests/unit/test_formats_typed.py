"""Typed values from several threads at once: the first conversion to a type is had alone."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest

from vordr.formats import typed

VORDR = Path(typed.__file__).parents[1]
TYPES = """
from __future__ import annotations
import msgspec

class Inner(msgspec.Struct):
    x: int | None = None
    y: dict[str, int] = {}

class Outer(msgspec.Struct):
    inner: Inner
    more: list[Inner] = []
"""
AT_ONCE = """
import importlib, os, sys, threading, types

convert = importlib.import_module(sys.argv[1]).convert
sys.setswitchinterval(1e-6)
threading.excepthook = lambda told: os._exit(1)
for number in range(60):
    module = sys.modules[f"types_{number}"] = types.ModuleType(f"types_{number}")
    exec(sys.argv[2], module.__dict__)
    start = threading.Barrier(4)

    def first():
        start.wait()
        convert({"inner": {"x": 1}, "more": [{}]}, module.Outer)

    threads = [threading.Thread(target=first) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
"""


class Point(msgspec.Struct):
    x: int
    y: int = 0


def test_a_value_becomes_what_is_wanted() -> None:
    assert typed.convert({"x": 1}, Point) == Point(1)
    assert typed.decode(b'{"x": 1, "y": 2}', Point) == Point(1, 2)
    assert typed.decoder(list[Point]).decode(b'[{"x": 3}]') == [Point(3)]
    assert typed.convert([{"x": 1}, 2], list[Point | int]) == [Point(1), 2]


def test_what_is_not_of_the_type_is_refused() -> None:
    with pytest.raises(msgspec.ValidationError, match=r"\$\.x"):
        typed.convert({"x": "1"}, Point)
    with pytest.raises(msgspec.ValidationError, match=r"\$\.x"):
        typed.decode(b'{"x": "1"}', Point)
    with pytest.raises(msgspec.DecodeError):
        typed.decode(b"{", Point)


def test_a_type_is_worked_out_once(monkeypatch: pytest.MonkeyPatch) -> None:
    class Fresh(msgspec.Struct):
        x: int

    made: list[object] = []
    decoder = typed.decoder
    monkeypatch.setattr(typed, "decoder", lambda wanted: (made.append(wanted), decoder(wanted))[1])
    for x in (1, 2):
        assert typed.convert({"x": x}, Fresh) == Fresh(x)
    assert made == [Fresh]


def test_many_threads_that_convert_to_a_type_for_the_first_time_all_live() -> None:
    command = [sys.executable, "-c", AT_ONCE, typed.__name__, TYPES]
    assert subprocess.run(command, timeout=120, check=False).returncode == 0


def test_nothing_else_asks_msgspec_for_a_typed_value() -> None:
    asked = []
    for path in VORDR.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if not isinstance(node, ast.Call):
                continue
            wanted = node.args[1:] if ast.unparse(node.func).endswith("decode") else node.args
            wanted += [word.value for word in node.keywords if word.arg == "type"]
            if ast.unparse(node.func) == "msgspec.convert" or (
                    ast.unparse(node.func) in ("msgspec.json.Decoder", "msgspec.json.decode") and wanted):
                asked.append(f"{path.relative_to(VORDR)}:{node.lineno}")
    assert {place.partition(":")[0] for place in asked} == {"formats/typed.py"}, asked
