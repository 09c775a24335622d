"""vordr policy check and gather, vordr verify --bundle and --layout; and what is not imported early."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from cli_engine import MemoryEngine, Program, image, receipt
from test_intoto_layout import ALICE, IMAGE, MANIFEST, OWNER, SOURCE, Chain

from vordr.model import answers, arguments
from vordr.model.answers import PolicyAnswer, PolicyDemand, PolicyEvidence, VerifyAnswer, VerifyStep
from vordr.model.errors import PolicyDenied

POLICY = "sha256:" + "cc" * 32


class Engine(MemoryEngine):
    """Answers as it is told."""

    decision = "ALLOW"
    code: str | None = None
    manifest = MANIFEST

    def _policy_check(self, args: arguments.ImageArgs) -> Any:
        demand = PolicyDemand(scope="prod", demand="cosign[0]", text="1 of 1 keys",
                              outcome="holds" if self.decision == "ALLOW" else "fails")
        unjudged = PolicyDemand(scope="prod", demand="svalinn[0].x", text="no", outcome="cannot be judged")
        return PolicyAnswer(
            decision=self.decision, manifest=self.manifest, names=("a.example.org/web:v1",), policy=POLICY,
            code=self.code, message="why \x1b[31m", steps=(VerifyStep(1, "digest", True, "fine"),),
            scopes=("prod",), demands=(demand, unjudged),
            evidence=(PolicyEvidence(digest="sha256:e", kind="cosign-signature"),), lost=("sha256:l",))

    def _gather(self, args: arguments.GatherArgs) -> Any:
        if args.layout is None:
            raise PolicyDenied("nothing that refers to it was found", remedy="vordr policy check x")
        return answers.ImageAnswer(image=image(evidence=("sha256:e",)), receipt=receipt())

    def _verify(self, args: arguments.VerifyArgs) -> Any:
        return VerifyAnswer(
            decision=self.decision, manifest=self.manifest, mode=args.mode, code=self.code, message=self.code,
            steps=(VerifyStep(1, "digest", True, "with a bundle" if args.bundle else "without"),))


@pytest.fixture
def engine() -> Engine:
    return Engine()


@pytest.fixture
def program(engine: Engine, capfd: pytest.CaptureFixture[str]) -> Program:
    return Program(engine, capfd)


def test_check_shows_every_demand_and_exits_by_the_decision(program: Program, engine: Engine) -> None:
    told = program("policy", "check", "web")
    assert told.code == 0 and "ok    prod, cosign[0]: 1 of 1 keys" in told.out
    assert "??    prod, svalinn[0].x" in told.out and "Damaged:   sha256:l" in told.out
    engine.decision, engine.code = "REJECT", "POLICY_DENIED"
    told = program("policy", "check", "web")
    assert told.code == 1 and "FAIL  prod, cosign[0]" in told.out and "\x1b" not in told.out


def test_check_is_json_on_request(program: Program) -> None:
    told = json.loads(program("--json", "policy", "check", "web").out)
    assert told["demands"][0]["outcome"] == "holds" and told["lost"] == ["sha256:l"]


def test_gather_takes_a_layout_by_its_full_path(program: Program, tmp_path: Path) -> None:
    told = program("policy", "gather", "web", str(tmp_path))
    assert told.code == 0 and "1 pieces of evidence" in told.out
    told = program("policy", "gather", "web")
    assert told.code == 51 and "nothing that refers" in told.err


def test_verify_judges_by_a_bundle_from_a_file(program: Program, tmp_path: Path) -> None:
    (tmp_path / "b.json").write_text("{}")
    assert "with a bundle" in program("verify", "--bundle", str(tmp_path / "b.json"), "web").out
    assert program("verify", "--bundle", str(tmp_path / "absent"), "web").code == 2


# -- layouts ---------------------------------------------------------------------------------------


@pytest.fixture
def chain(tmp_path: Path) -> Chain:
    made = Chain(tmp_path).whole()
    (tmp_path / "owner.pem").write_bytes(OWNER.pem)
    return made


def words(chain: Chain, *more: str) -> list[str]:
    return ["verify", "--layout", str(chain.layout), "--layout-key", str(chain.folder / "owner.pem"),
            "--link-dir", str(chain.links), *more]


def test_a_layout_is_verified_without_an_engine(chain: Chain, capfd: pytest.CaptureFixture[str]) -> None:
    told = Program(PolicyDenied("no engine is asked"), capfd)(*words(chain))
    assert told.code == 0 and "step build" in told.out and "manifest.json" in told.out


def test_an_image_must_be_what_the_layout_made(chain: Chain, program: Program, engine: Engine) -> None:
    told = program(*words(chain, "web"))
    assert told.code == 0 and f"{MANIFEST} is the product manifest.json" in told.out
    engine.manifest = "sha256:" + "0" * 64
    told = program(*words(chain, "web"))
    assert told.code == 1 and "SUBJECT_MISMATCH" in told.err


def test_a_layout_does_not_make_up_for_a_refused_image(
    chain: Chain, program: Program, engine: Engine
) -> None:
    engine.decision, engine.code = "REJECT", "UNKNOWN_KEY"
    told = program(*words(chain, "web"))
    assert told.code == 1 and "UNKNOWN_KEY" in told.err


def test_a_layout_that_does_not_hold_is_a_rejection(chain: Chain, program: Program) -> None:
    chain.link("build", ALICE, SOURCE, IMAGE).rename(chain.links / "elsewhere")
    (chain.links / f"write.{ALICE.id[:8]}.link").unlink()
    assert program(*words(chain)).code == 1
    chain.layout.write_text("{}")
    assert program(*words(chain)).code == 2


@pytest.mark.parametrize("given", [
    ["verify"], ["verify", "--layout-key", "x", "web"], ["verify", "--inspect", "web"],
    ["verify", "--bundle", "x", "--layout", "y"]])
def test_words_that_make_no_sense_are_malformed(program: Program, given: list[str]) -> None:
    assert program(*given).code == 2


# -- imports ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("module", [
    "vordr.service.server", "vordr.engine.local", "vordr.cli.entry", "vordr.cli.commands.verify",
    "vordr.cli.commands.policy", "vordr.gatekeeper.decide", "vordr.gatekeeper.policy"])
def test_what_only_some_policies_need_is_not_imported_at_a_start(module: str) -> None:
    code = (f"import sys, {module}; found = {{'sigstore', 'in_toto', 'pydantic', 'tuf', 'requests'}} "
            "& set(sys.modules); sys.exit(repr(found) if found else 0)")
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
