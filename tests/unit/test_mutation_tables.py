"""What `make mutation` changes of a module besides its functions: tables, constants, defaults, properties."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

MUTATION = Path(__file__).parents[1] / "mutation"
sys.path.insert(0, str(MUTATION))

from tables import mutants  # noqa: E402 - the folder is no package

CODE = '''"""The module's words."""

from dataclasses import dataclass

LIMIT = 3
NAMES: tuple[str, ...] = ("one", "two words of prose")


def plain(number: int = 4) -> int:
    return number + LIMIT


@dataclass(frozen=True)
class Row:
    """The class's words."""

    width: int = 5

    @property
    def twice(self) -> int:
        return self.width * 2

    @staticmethod
    def thrice(number: int) -> int:
        return number * 3
'''
CHANGES = [
    ("rows.LIMIT", "- LIMIT = 3  + LIMIT = None"),
    ("rows.LIMIT", "- LIMIT = 3  + LIMIT = 4"),
    ("rows.NAMES", '- NAMES: tuple[str, ...] = ("one", "two words of prose")  '
                   "+ NAMES: tuple[str, ...] = None"),
    ("rows.NAMES", '- NAMES: tuple[str, ...] = ("one", "two words of prose")  '
                   '+ NAMES: tuple[str, ...] = ("XXoneXX", "two words of prose")'),
    ("rows.Row", "- width: int = 5  + width: int = None"),
    ("rows.Row", "- width: int = 5  + width: int = 6"),
    ("rows.Row.twice", "- return self.width * 2  + return self.width / 2"),
    ("rows.Row.twice", "- return self.width * 2  + return self.width * 3"),
]


def test_tables_defaults_and_properties_are_changed_and_functions_and_prose_are_not() -> None:
    assert sorted(one.key for one in mutants(Path("rows.py"), CODE)) == sorted(CHANGES)


def test_each_mutant_is_the_whole_module_with_that_one_change() -> None:
    for one in mutants(Path("rows.py"), CODE):
        out, put_in = one.change.removeprefix("- ").split("  + ")
        assert one.text == CODE.replace(out, put_in) and one.text != CODE
        assert one.module == "rows.py"


@pytest.mark.parametrize("text", ["3", "4"])
def test_tests_import_the_mutated_text_in_place_of_the_module(tmp_path: Path, text: str) -> None:
    (tmp_path / "mutated.py").write_text(f"DEFAULT_ROOT = {text}")
    (tmp_path / "test_one.py").write_text(
        "from vordr.model import paths\n\n\ndef test_it():\n    assert paths.DEFAULT_ROOT == 3\n")
    environment = os.environ | {
        "PYTHONPATH": str(MUTATION), "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1", "PYTHONDONTWRITEBYTECODE": "1",
        "MUTATED_MODULE": "vordr.model.paths", "MUTATED_TEXT": str(tmp_path / "mutated.py")}
    command = [sys.executable, "-m", "pytest", "-q", "-p", "mutated_module", "-p", "no:cacheprovider"]
    done = subprocess.run(
        [*command, "test_one.py"],
        cwd=tmp_path, env=environment, capture_output=True, timeout=60, check=False)
    assert done.returncode == (text != "3"), done.stdout.decode()
