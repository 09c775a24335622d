"""Mutation testing: `make mutation`. Every mutant that the tests let live is killed by a better test, or has
a reason in survivors.toml; any other makes this fail.

mutmut makes and runs the mutants, once for each group of groups.toml, in mutants/GROUP: it takes one
selection of tests for all it mutates, and a file is to be held by its own tests, not by whatever passes
through it (docs/decisions/0042). For groups with ``tables`` the tables, defaults and properties that mutmut
does not change are mutated too (tables.py). What is kept beside these results is the list of survivors, by
the text of the change, for mutmut numbers mutants anew with every edit of a function.

    run.py [GROUP…]           make and run all mutants of the groups (default: all)
    run.py --again [GROUP…]   run only what survived last time again, with the tests as they are now
    run.py --report [GROUP…]  compare and count what the last run left, and run nothing
"""

from __future__ import annotations

import argparse
import configparser
import json
import os
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

HERE: Final = Path(__file__).parent
ROOT: Final = HERE.parents[1]
WORK: Final = ROOT / "mutants"
# What mutmut's exit code of a mutant says: a test failed, or the mutant hung or died. Not 255, which mutmut
# calls a timeout: pytest did not run, as for a test whose id it does not find again (one with a backslash).
KILLED: Final = {1, 3, 24, 36, -24, 152, -9, -11}
_NOTES: Final = {None: "not run", 255: "not run", 5: "no test runs it", 33: "no test runs it"}
# A pytest starts for every mutant: with what these tests need, and no collection of garbage at its end.
_PLUGINS: Final = (
    "pytest_timeout", "mutation_profile", "no:cacheprovider", "no:unraisableexception", "no:threadexception",
    "no:faulthandler",
)
NEEDED: Final = ("vordr", "tests", "proofs", "config", "docs")


@dataclass(frozen=True)
class Mutant:
    """One change. ``note`` says of one that lives why no test could kill it; ``function`` and ``change`` (the
    lines taken out and put in, stripped and joined) are what it is known by."""

    name: str
    module: str
    killed: bool
    note: str = ""
    function: str = ""
    change: str = ""

    @property
    def key(self) -> tuple[str, str]:
        return self.function, self.change


def _patterns(found: list[str]) -> list[str]:
    """The test files that the patterns of a group name, each of which must name some."""
    files = []
    for pattern in found:
        paths = sorted(str(path.relative_to(ROOT)) for path in ROOT.glob(pattern))
        assert paths, f"{pattern}: no such file"
        files += paths
    return files


def prepare(group: str, declared: dict[str, Any]) -> Path:
    """The work folder of a group: links to the project, and a setup.cfg with mutmut's settings for it."""
    folder = WORK / group
    folder.mkdir(parents=True, exist_ok=True)
    for name in NEEDED:
        if not (folder / name).is_symlink():
            (folder / name).symlink_to(ROOT / name, target_is_directory=True)
    wanted = configparser.ConfigParser()
    wanted.read(ROOT / "setup.cfg")
    settings = configparser.ConfigParser()
    settings["tool:pytest"] = wanted["tool:pytest"]
    options = [word for plugin in _PLUGINS for word in ("-p", plugin)]
    for test in declared.get("without", []):
        options += ["--deselect", test]
    settings["mutmut"] = {
        "source_paths": "vordr",
        "only_mutate": "\n".join(["", *declared["files"]]),
        "also_copy": "\n".join(["", "proofs", "config", "docs"]),
        "pytest_add_cli_args_test_selection": "\n".join(["", *_patterns(declared["tests"])]),
        "pytest_add_cli_args": "\n".join(["", *options]),
        # Tests of actors leave threads behind, and mutants are forked: only from a process that ran nothing.
        "process_isolation": "forkserver",
        "timeout_multiplier": "8.0",
        "timeout_constant": "1.0",
        "use_git_change_detection": "false",
    }
    with (folder / "setup.cfg").open("w") as out:
        settings.write(out)
    return folder


def run(folder: Path, script: str, *words: str) -> None:
    """Run a script of this folder in the folder of a group; its output is the terminal's."""
    environment = {"VORDR_SHARED": str(ROOT.parent / "shared")} | os.environ | {
        "PYTHONPATH": str(HERE), "PYTHONWARNINGS": "ignore", "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
    environment.pop("PYTHONDONTWRITEBYTECODE", None)
    command = [sys.executable, str(HERE / script), *words]
    done = subprocess.run(command, cwd=folder, env=environment, check=False)
    if done.returncode:
        raise SystemExit(f"{script} ended with {done.returncode} in {folder}")


def results(folder: Path) -> Iterator[Mutant]:
    """Every mutant of a finished run; with its text where it lived."""
    os.chdir(folder)
    from mutmut.configuration import reset_config
    from mutmut.mutation.data import SourceFileMutationData
    from mutmut.mutation.diff_apply import get_diff_for_mutant
    from mutmut.utils.file_utils import walk_mutatable_files

    reset_config()
    for path in sorted(walk_mutatable_files()):
        data = SourceFileMutationData(path=path)
        data.load()
        module = str(path)
        for name, code in data.exit_code_by_key.items():
            if code in KILLED:
                yield Mutant(name, module, killed=True)
                continue
            function = name.rpartition(".")[2].partition("__mutmut_")[0].removeprefix("x_").removeprefix("xǁ")
            diff = get_diff_for_mutant(name, path=path).splitlines()[2:]
            lines = [line[0] + " " + line[1:].strip() for line in diff if line[:1] in "+-"]
            where = f"{path.stem}.{function.replace('ǁ', '.')}"
            yield Mutant(name, module, False, _NOTES.get(code, ""), where, "  ".join(lines))


def table_results(folder: Path) -> Iterator[Mutant]:
    """Every mutant of a finished run of tables.py, where there was one."""
    path = folder / "tables.json"
    for one in json.loads(path.read_text()) if path.exists() else []:
        yield Mutant(one["place"], one["module"], one["killed"], "", one["place"], one["change"])


def known() -> dict[tuple[str, str], str]:
    """(function, change) → the reason why it may live."""
    listed = tomllib.loads((HERE / "survivors.toml").read_text())
    return {
        (function, change): reason["why"]
        for reason in listed.get("reason", [])
        for function, changes in reason["mutants"].items()
        for change in changes
    }


def compare(
    mutants: Sequence[Mutant], reasons: Mapping[tuple[str, str], str]
) -> tuple[list[Mutant], list[tuple[str, str]]]:
    """Those that live without a reason, and the reasons, of the files that were mutated, without a mutant."""
    living = [mutant for mutant in mutants if not mutant.killed]
    files = {Path(mutant.module).stem for mutant in mutants}
    met = {mutant.key for mutant in living}
    gone = [key for key in reasons if key not in met and key[0].partition(".")[0] in files]
    return [mutant for mutant in living if mutant.key not in reasons], gone


def report(groups: list[str]) -> int:
    """Count per file, name every survivor without a reason and every reason without a survivor; 1 if any."""
    reasons = known()
    mutants = [
        mutant for group in groups for found in (results, table_results) for mutant in found(WORK / group)]
    new, gone = compare(mutants, reasons)
    ran = {mutant.module for mutant in mutants}
    declared = tomllib.loads((HERE / "groups.toml").read_text()).values()
    namesakes = {Path(file).stem for group in declared for file in group["files"] if file not in ran}
    gone = [key for key in gone if key[0].partition(".")[0] not in namesakes]  # of a file that was not run
    print(f"\n{'':32}{'mutants':>8}{'killed':>8}{'%':>7}{'with a reason':>15}{'without':>9}")
    files = sorted({mutant.module for mutant in mutants})
    for name, some in [*((f, [m for m in mutants if m.module == f]) for f in files), ("all", mutants)]:
        killed, lives = sum(m.killed for m in some), sum(m in new for m in some)
        print(f"{name:32}{len(some):8}{killed:8}{100 * killed / max(len(some), 1):7.1f}"
              f"{len(some) - killed - lives:15}{lives:9}")
    for mutant in new:
        note = f" ({mutant.note})" if mutant.note else ""
        print(f"\n{mutant.name}{note}\n  {mutant.function}\n  {mutant.change}")
    for function, change in gone:
        print(f"\nnot among the survivors any more: {function}\n  {change}")
    if new or gone:
        print(f"\n{len(new)} mutants live without a reason, {len(gone)} reasons have no mutant: "
              "kill them by a test, or bring tests/mutation/survivors.toml up to date")
    return 1 if new or gone else 0


def main() -> int:
    declared = tomllib.loads((HERE / "groups.toml").read_text())
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("groups", nargs="*", metavar="GROUP")
    parser.add_argument("--again", action="store_true")
    parser.add_argument("--report", action="store_true")
    parser.add_argument("--children", type=int, default=os.cpu_count() or 1)
    asked = parser.parse_args()
    groups = asked.groups or list(declared)
    os.nice(10)
    for group in groups if not asked.report else []:
        if not asked.again:
            shutil.rmtree(WORK / group, ignore_errors=True)
        folder = prepare(group, declared[group])
        living = [mutant.name for mutant in results(folder) if not mutant.killed] if asked.again else []
        os.chdir(ROOT)
        children = str(asked.children)
        tables = declared[group].get("tables", False)
        if tables != "only":  # mutmut fails where it finds no function
            run(folder, "without_prose.py", "run", "--max-children", children, *living)
        if tables:
            again = ["--again"] if asked.again else []
            run(folder, "tables.py", *again, "--children", children, *declared[group]["files"])
    return report(groups)


if __name__ == "__main__":
    sys.exit(main())
