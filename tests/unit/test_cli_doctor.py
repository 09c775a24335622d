"""vordr doctor: the report, its JSON, and what it does without a service."""

from __future__ import annotations

import json

from cli_engine import MemoryEngine, Program, assert_valid

from vordr.model import answers, errors


def world(*statuses: str) -> MemoryEngine:
    engine = MemoryEngine()
    engine.scripts["doctor"] = answers.DoctorAnswer(checks=tuple(
        answers.DoctorCheck(category="Kernel", name=f"check{n}", status=status, message="words",
                            fix=None if status == "pass" else "mend it")
        for n, status in enumerate(statuses)), supervision=("journal running",))
    return engine


def test_a_host_that_can_run_exits_0_though_it_is_warned(capfd):
    outcome = Program(world("pass", "warn"), capfd)("doctor")
    assert outcome.code == 0
    assert "1 passed, 1 warnings, 0 errors" in outcome.out


def test_a_host_that_cannot_run_exits_1_and_says_what_mends_it(capfd):
    outcome = Program(world("pass", "fail"), capfd)("doctor")
    assert outcome.code == 1
    assert "  FAIL  check1: words\n        To fix: mend it\n" in outcome.out


def test_the_json_report_is_doctor_report_v1(capfd):
    told = json.loads(Program(world("pass", "warn", "fail"), capfd)("doctor", "--format", "json").out)
    assert_valid(told, "doctor-report.v1.json")
    assert told["summary"] == {"passed": 1, "warnings": 1, "errors": 1}
    assert told["next_steps"] == ["mend it"]


def test_without_a_service_the_host_is_checked_all_the_same(capfd):
    outcome = Program(errors.NotPrivileged("no access"), capfd)("doctor", "--json")
    told = json.loads(outcome.out)
    assert_valid(told, "doctor-report.v1.json")
    assert outcome.code == 1
    assert told["checks"][0]["category"] == "Service"
    assert {check["category"] for check in told["checks"]} > {"Service", "Kernel"}
