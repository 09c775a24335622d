"""What ``make proofs`` refuses: an axiom, an open proof, a theorem that nobody explains."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

PROOFS = Path(__file__).parents[2] / "proofs"
GOOD = "(** One is one. *)\nTheorem one : 1 = 1.\nProof. reflexivity. Qed.\n"


def check(folder: Path, source: str) -> subprocess.CompletedProcess[str]:
    """Compile one theory as the Makefile does, and check it."""
    (folder / "build").mkdir(exist_ok=True)
    for place in (folder, folder / "build"):
        (place / "Toy.v").write_text(source)
    subprocess.run(
        ["coqc", "-q", "-noglob", "-R", ".", "Vordr", "Toy.v"], cwd=folder / "build", check=True,
        capture_output=True)
    return subprocess.run(
        [sys.executable, str(PROOFS / "check.py"), "build", "Toy"], cwd=folder, check=False,
        capture_output=True, text=True)


pytestmark = pytest.mark.skipif(shutil.which("coqc") is None, reason="needs coqc (Debian: coq)")


def test_a_proved_theorem_is_listed_with_its_words(tmp_path: Path) -> None:
    done = check(tmp_path, GOOD)
    assert done.returncode == 0, done.stderr
    assert "Toy.one\n    One is one." in done.stdout


@pytest.mark.parametrize(("source", "why"), [
    ("Axiom nonsense : 1 = 2.\n(** So. *)\nTheorem two : 1 = 2.\nProof. exact nonsense. Qed.\n",
     "Toy.two rests on: Axioms:\nToy.nonsense : 1 = 2"),
    ("(** So. *)\nTheorem two : 1 = 2.\nProof. Admitted.\n", "Toy.v uses Admitted"),
    ("Variable nonsense : 1 = 2.\n(** So. *)\nTheorem two : 1 = 2.\nProof. exact nonsense. Qed.\n",
     "Toy.two rests on: Axioms:\nToy.nonsense : 1 = 2"),
    ("Theorem one : 1 = 1.\nProof. reflexivity. Qed.\n", "Toy.one has no words before it"),
], ids=["axiom", "admitted", "assumed in passing", "unexplained"])
def test_what_is_not_proved_is_refused_by_name(tmp_path: Path, source: str, why: str) -> None:
    done = check(tmp_path, source)
    assert done.returncode == 1
    assert why in done.stderr
