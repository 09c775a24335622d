"""vordr verify on the command line: the cure beside the step, modes that only report, and the graph."""

from __future__ import annotations

import json
import os
import shutil
import xml.etree.ElementTree as ET
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from attested_world import REFUSALS, Case
from cli_engine import MemoryEngine, Outcome, Program

from vordr.cli import graphviz
from vordr.engine.handlers.verifying import _verify_answer
from vordr.gatekeeper.cures import Target
from vordr.gatekeeper.decide import Mode
from vordr.model import arguments, errors
from vordr.model.answers import VerifyAnswer

FAKE = "#!/bin/sh\n"
"""Stands in for graphviz's dot, which may not be installed; scripts of their own follow."""
ECHO = FAKE + 'printf "<svg xmlns=\\"http://www.w3.org/2000/svg\\"><!-- %s -->" "$*"; printf "<text>"\n' \
    + "sed -e 's/&/+/g; s/</(/g; s/>/)/g'; printf '</text></svg>'\n"


class Judging(MemoryEngine):
    """Verifies one case, whatever it is asked for."""

    case = Case()

    def _verify(self, args: arguments.VerifyArgs) -> VerifyAnswer:
        target = Target(args.image, package=args.package, manifest=self.case.subject.manifest)
        return _verify_answer(self.case.report(Mode(args.mode)), target, graph=args.graph)


@pytest.fixture
def engine() -> Judging:
    return Judging()


@pytest.fixture
def program(engine: Judging, capfd: pytest.CaptureFixture[str]) -> Program:
    return Program(engine, capfd)


@pytest.fixture
def dot(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str | None], Path]:
    """Puts a ``dot`` of this text before all else in PATH (None: there is none at all); where it is."""
    def install(script: str | None) -> Path:
        folder = tmp_path / "programs"
        folder.mkdir(exist_ok=True)
        if script is None:
            monkeypatch.setenv("PATH", str(folder))
        else:
            (folder / "dot").write_text(script)
            (folder / "dot").chmod(0o755)
            monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")
        return folder / "dot"

    return install


def refused(engine: Judging, wrong: str) -> str:
    code, make = REFUSALS[wrong]
    engine.case = make()
    return code


# -- cures -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("wrong", REFUSALS)
def test_the_step_that_failed_stands_with_its_code_and_its_cure(
    program: Program, engine: Judging, wrong: str
) -> None:
    code = refused(engine, wrong)
    told = program("verify", "web")
    (failed,) = [n for n, line in enumerate(told.out.splitlines()) if " FAIL " in line]
    line, cure = told.out.splitlines()[failed:failed + 2]
    assert line.endswith(f" [{code}]")
    report = engine.case.report()
    assert line.startswith(f" {report.step}. FAIL  {report.name}: {report.message}"[:60])
    assert cure.startswith("          cure: vordr ")
    assert told.code == (2 if code == "MALFORMED_BUNDLE" else 1)
    assert told.err.startswith(f"Rejected [{code}]: ")
    assert f"  1. {cure.removeprefix('          cure: ')}\n" in told.err
    assert told.err.endswith(f"More: vordr explain {code}\n")


def test_what_is_allowed_has_no_cure(program: Program) -> None:
    told = program("verify", "web")
    assert (told.code, told.err) == (0, "") and "cure" not in told.out


@pytest.mark.parametrize("mode", ["permissive", "audit"])
@pytest.mark.parametrize("wrong", ["no JSON", "key expired", "no evidence"])
def test_a_mode_that_only_reports_exits_0_says_so_and_tells_the_cure(
    program: Program, engine: Judging, mode: str, wrong: str
) -> None:
    code = refused(engine, wrong)
    told = program("verify", "--mode", mode, "web")
    assert (told.code, told.err) == (0, "")
    assert f"Decision:    ALLOW ({mode}: a report, which starts nothing)" in told.out
    assert f"Strict would reject [{code}]: " in told.out and "  1. vordr " in told.out


@pytest.mark.parametrize("mode", ["strict", "audit"])
def test_json_carries_the_cures(program: Program, engine: Judging, mode: str) -> None:
    refused(engine, "one of two")
    told = json.loads(program("--json", "verify", "--mode", mode, "web").out)
    assert told["code"] == "THRESHOLD_NOT_MET"
    assert [cure["command"] for cure in told["cures"]] == [
        "vordr adopt --draft BUNDLE.json web", "vordr sign --key KEY.pem BUNDLE.json",
        "vordr adopt --bundle BUNDLE.json web"]
    assert told["remedy"] == told["cures"][0]["command"] and all(cure["text"] for cure in told["cures"])
    assert told["attested"] is None


def test_the_cure_of_a_package_names_its_file(program: Program, engine: Judging, tmp_path: Path) -> None:
    package = tmp_path / "a b.ctp"
    package.write_bytes(b"x")
    refused(engine, "one of two")
    told = program("verify", str(package))
    assert f"cure: vordr sign --key KEY.pem '{package}'" in told.out


def test_an_error_in_place_of_a_report_has_its_remedy(program: Program, engine: Judging) -> None:
    engine.scripts["verify"] = errors.TrustStoreMissing("nobody is trusted yet")
    told = program("verify", "web")
    assert told.code == 1 and "  1. vordr trust init" in told.err


# -- the graph -------------------------------------------------------------------------------------


def test_the_text_of_the_graph_is_written_without_graphviz(
    program: Program, engine: Judging, dot: Any, tmp_path: Path
) -> None:
    dot(None)
    told = program("verify", "--graph", str(tmp_path / "g.dot"), "web")
    assert told.code == 0 and "Decision:    ALLOW" in told.out
    text = (tmp_path / "g.dot").read_text()
    assert text.startswith("digraph attested {") and '"web\\n' in text
    assert [args.graph for args in engine.of("verify")] == [True]


def test_without_graphviz_one_line_says_what_is_missing_and_how_to_have_it(
    program: Program, dot: Any, tmp_path: Path
) -> None:
    dot(None)
    told = program("verify", "--graph", str(tmp_path / "g.svg"), "web")
    assert told.code == 1 and "Decision:    ALLOW" in told.out
    (line,) = [line for line in told.err.splitlines() if "graphviz is not installed" in line]
    assert "apt install graphviz" in line and "--graph FILE.dot" in line
    assert not (tmp_path / "g.svg").exists()


def test_a_graph_that_cannot_be_drawn_does_not_hide_a_rejection(
    program: Program, engine: Judging, dot: Any
) -> None:
    dot(None)
    refused(engine, "no JSON")
    assert program("verify", "--graph", "-", "web").code == 2


SVGS = [ECHO, *([None] if shutil.which("dot") else [])]
"""The real dot too, where there is one."""


@pytest.mark.parametrize("script", SVGS)
def test_the_svg_is_made_of_the_graph(
    program: Program, dot: Any, tmp_path: Path, script: str | None
) -> None:
    if script is not None:
        dot(script)
    told = program("verify", "--graph", str(tmp_path / "g.svg"), 'w<e>b&"x')
    assert told.code == 0 and "Decision:    ALLOW" in told.out
    drawn = ET.parse(tmp_path / "g.svg").getroot()
    assert drawn.tag == "{http://www.w3.org/2000/svg}svg"
    assert "attestation bundle" in "".join(drawn.itertext())


def test_dot_is_called_with_a_fixed_command_line_and_nothing_of_ours_in_its_environment(
    dot: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = dot(FAKE + 'printf "%s " "$0" "$@"; env | sort | tr "\\n" " "; pwd\n')
    monkeypatch.setenv("VORDR_SECRET", "s")
    words = graphviz.svg("digraph {}").decode().split()
    assert words[:2] == [str(place), "-Tsvg"]
    known = {"LC_ALL", "PATH", "PWD", "OLDPWD", "SHLVL", "_"}  # the last four are the shell's own
    assert {word.partition("=")[0] for word in words[2:-1]} <= known
    assert words[-1] == "/"


@pytest.mark.parametrize("words", [["--graph", "-", "web"], ["web", "--graph"], ["--graph", "web"]])
def test_the_graph_alone_is_on_standard_output_when_that_is_asked(
    program: Program, dot: Any, words: list[str]
) -> None:
    dot(ECHO)
    told: Outcome = program("verify", *words)
    assert told.code == 0
    assert ET.fromstring(told.out).tag == "{http://www.w3.org/2000/svg}svg"
    assert "Decision:    ALLOW" in told.err


def test_a_rejection_is_told_beside_a_graph_on_standard_output(
    program: Program, engine: Judging, dot: Any
) -> None:
    dot(ECHO)
    refused(engine, "key expired")
    told = program("verify", "--graph", "-", "web")
    assert told.code == 1 and "Rejected [EXPIRED_KEY]" in told.err
    assert "EXPIRED_KEY" in ET.fromstring(told.out)[-1].text  # type: ignore[operator]  # ours has text


@pytest.mark.parametrize(("script", "said"), [
    (FAKE + "cat; exit 3\n", "ends with code 3"),
    (FAKE + "cat; sleep 600 & wait\n", "takes longer than"),
    (FAKE + "trap '' PIPE; while :; do cat /dev/zero; done\n", "more than"),
])
def test_a_dot_that_fails_hangs_or_floods_ends_in_an_error(
    dot: Any, monkeypatch: pytest.MonkeyPatch, script: str, said: str
) -> None:
    dot(script)
    monkeypatch.setattr(graphviz, "LARGEST_SVG", 1 << 20)
    with pytest.raises(errors.RuntimeFailed, match=said):
        graphviz.svg("digraph {}", patience=0.2 if "longer" in said else 600.0)


def test_a_graph_and_json_go_together_unless_both_want_standard_output(
    program: Program, tmp_path: Path
) -> None:
    told = program("--json", "verify", "--graph", str(tmp_path / "g.dot"), "web")
    assert json.loads(told.out)["attested"]["attestations"][0]["signers"][0]["owner"] == "Ada"
    assert (tmp_path / "g.dot").exists()
    assert program("--json", "verify", "--graph", "-", "web").code == 2


@pytest.mark.parametrize("words", [
    ["--graph", "picture.png", "web"], ["--graph", "-"], ["--graph"], ["--graph", "x.svg"]])
def test_a_graph_that_makes_no_sense_is_malformed(
    program: Program, engine: Judging, words: list[str]
) -> None:
    assert program("verify", *words).code == 2
    assert engine.calls == []


def test_a_place_that_cannot_be_written_is_told_after_the_report(program: Program) -> None:
    told = program("verify", "--graph", "/nobody/has/this.dot", "web")
    assert told.code == 1 and "cannot be written" in told.err and "Decision:    ALLOW" in told.out
