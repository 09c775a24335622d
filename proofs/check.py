"""Checks the compiled theories and prints each theorem in plain words, with what it rests on.

    check.py BUILD THEORY…          (in the folder of the theories)

Runs coqchk over the compiled files, asks Coq for the assumptions of every theorem, and refuses any axiom,
any admitted proof, any theorem without words. Needs coqc and coqchk; ends with 1 where something is wrong.
"""

from __future__ import annotations

import re
import subprocess
import sys
import textwrap
from dataclasses import dataclass
from pathlib import Path

CLOSED = "Closed under the global context"
# Of the words that leave a proof open: `admit` itself can only end in one of these.
FORBIDDEN = re.compile(r"\b(?:Axioms?|Parameters?|Conjecture|Admitted|give_up|Admit Obligations)\b")
COMMENT = re.compile(r"\(\*.*?\*\)", re.DOTALL)
STATED = re.compile(
    r"(?:\(\*\*(?P<words>(?:(?!\*\)).)*)\*\)\s*)?^Theorem (?P<name>\w+)", re.DOTALL | re.MULTILINE)
WIDTH = 100


@dataclass(frozen=True)
class Stated:
    theory: str
    name: str
    words: str


def theorems(theory: str, source: str) -> list[Stated]:
    return [Stated(theory, found["name"], re.sub(r"[\[\]]", "", " ".join((found["words"] or "").split())))
            for found in STATED.finditer(source)]


def run(folder: Path, *command: str) -> str:
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        sys.exit(f"{' '.join(command)}\n{done.stdout}{done.stderr}")
    return done.stdout + done.stderr


def assumptions(build: Path, stated: list[Stated]) -> list[str]:
    """For each theorem what Coq says it rests on."""
    names = [f"{one.theory}.{one.name}" for one in stated]
    lines = [f"From Vordr Require {' '.join(dict.fromkeys(one.theory for one in stated))}."]
    lines += [f'Redirect "assumptions-{name}" Print Assumptions {name}.' for name in names]
    (build / "Assumptions.v").write_text("\n".join(lines) + "\n")
    run(build, "coqc", "-q", "-noglob", "-R", ".", "Vordr", "Assumptions.v")
    return [(build / f"assumptions-{name}.out").read_text().strip() for name in names]


def main(build: Path, theories: list[str]) -> int:
    wrong: list[str] = []
    stated: list[Stated] = []
    for theory in theories:
        source = Path(f"{theory}.v").read_text()
        stated += theorems(theory, source)
        found = set(FORBIDDEN.findall(COMMENT.sub("", source)))
        wrong += [f"{theory}.v uses {word}" for word in sorted(found)]
    wrong += [f"{one.theory}.{one.name} has no words before it" for one in stated if not one.words]
    checked = run(build, "coqchk", "-silent", "-o", "-R", ".", "Vordr", *(f"Vordr.{one}" for one in theories))
    if not re.search(r"\* Axioms: <none>", checked):
        wrong.append(f"coqchk finds axioms:\n{checked}")
    for one, rests_on in zip(stated, assumptions(build, stated), strict=True):
        print(f"{one.theory}.{one.name}")
        print(textwrap.fill(one.words, WIDTH, initial_indent="    ", subsequent_indent="    "))
        if rests_on != CLOSED:
            wrong.append(f"{one.theory}.{one.name} rests on: {rests_on}")
    for line in wrong:
        print(f"proofs: {line}", file=sys.stderr)
    if not wrong:
        print(f"{len(stated)} theorems, each: {CLOSED.lower()}; coqchk agrees; no axiom, nothing admitted")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), sys.argv[2:]))
