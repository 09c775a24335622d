"""tests/otp_cases.md is whole and true: a case of supervisor_SUITE has tests that exist, or a reason."""

from __future__ import annotations

import ast
import re
from collections import defaultdict
from functools import cache
from pathlib import Path
from typing import NamedTuple

import pytest

TESTS = Path(__file__).parents[1]
TABLE = TESTS / "otp_cases.md"

SUITE = {
    "sup_start": """
        sup_start_normal sup_start_ignore_init sup_start_ignore_child sup_start_ignore_temporary_child
        sup_start_ignore_temporary_child_start_child sup_start_ignore_temporary_child_start_child_simple
        sup_start_ignore_permanent_child_start_child_simple sup_start_error_return sup_start_fail
        sup_start_child_returns_error sup_start_restart_child_returns_error
        sup_start_child_returns_error_simple
    """,
    "sup_start_map": """
        sup_start_map sup_start_map_simple sup_start_map_faulty_specs
    """,
    "sup_stop": """
        sup_stop_infinity sup_stop_timeout sup_stop_timeout_dynamic sup_stop_brutal_kill
        sup_stop_brutal_kill_dynamic sup_stop_race sup_stop_non_shutdown_exit_dynamic
    """,
    "administration and specifications (no group)": """
        child_adm child_adm_simple extra_return child_specs child_specs_map sup_flags multiple_restarts
    """,
    "restart_one_for_one": """
        one_for_one one_for_one_escalation
    """,
    "restart_one_for_all": """
        one_for_all one_for_all_escalation one_for_all_other_child_fails_restart
    """,
    "restart_simple_one_for_one": """
        simple_one_for_one simple_one_for_one_shutdown simple_one_for_one_extra
        simple_one_for_one_escalation simple_one_for_one_corruption simple_one_for_one_restart_ignore
    """,
    "restart_rest_for_one": """
        rest_for_one rest_for_one_escalation rest_for_one_other_child_fails_restart
    """,
    "normal_termination": """
        external_start_no_progress_log permanent_normal transient_normal temporary_normal
    """,
    "shutdown_termination": """
        permanent_shutdown transient_shutdown temporary_shutdown faulty_application_shutdown
    """,
    "abnormal_termination": """
        permanent_abnormal transient_abnormal temporary_abnormal
    """,
    "unlinking and trees (no group)": """
        child_unlink tree
    """,
    "significant": """
        nonsignificant_temporary nonsignificant_transient significant_temporary significant_transient
        significant_simple significant_bystander significant_escalation significant_upgrade_never_any
        significant_upgrade_any_never significant_upgrade_never_all significant_upgrade_all_never
        significant_upgrade_any_all significant_upgrade_all_any significant_upgrade_child
    """,
    "the rest (no group)": """
        count_children count_children_supervisor count_restarting_children get_callback_module
        do_not_save_start_parameters_for_temporary_children
        do_not_save_child_specs_for_temporary_children simple_one_for_one_scale_many_temporary_children
        temporary_bystander simple_global_supervisor hanging_restart_loop
        hanging_restart_loop_rest_for_one hanging_restart_loop_simple code_change code_change_map
        code_change_simple code_change_simple_map order_of_children scale_start_stop_many_children
        format_log_1 format_log_2 already_started_outside_supervisor which_children
        which_children_simple_one_for_one
    """,
}
"""The cases of supervisor_SUITE in OTP 28, by the groups that ``all/0`` runs them in."""

CASES = [case for cases in SUITE.values() for case in cases.split()]

_ROW = re.compile(r"^\| `(?P<case>\w+)` \| (?P<tests>.*?) ?\| (?P<remark>.*?) ?\|$", re.MULTILINE)
_NAMED = re.compile(r"`([\w/]+\.py)::(\w+)`")
_CLAIM = re.compile(r"OTP: ([\w,\s]+)\.")


class Row(NamedTuple):
    case: str
    tests: list[tuple[str, str]]
    remark: str


def rows() -> list[Row]:
    text = TABLE.read_text(encoding="utf-8")
    return [Row(row["case"], _NAMED.findall(row["tests"]), row["remark"]) for row in _ROW.finditer(text)]


@cache
def functions_of(file: str) -> dict[str, str]:
    """The test functions of a file, with their docstrings."""
    tree = ast.parse((TESTS / file).read_text(encoding="utf-8"))
    found = (node for node in tree.body if isinstance(node, ast.FunctionDef))
    return {node.name: ast.get_docstring(node) or "" for node in found if node.name.startswith("test_")}


def test_the_suite_has_as_many_cases_as_the_page_says() -> None:
    without = sum(not row.tests for row in rows())
    text = " ".join(TABLE.read_text(encoding="utf-8").split())
    assert len(CASES) == len(set(CASES)) == 93
    assert f"in OTP 28: {len(CASES)} cases" in text
    assert f"{len(CASES) - without} cases have tests, {without} do not apply" in text


def test_each_case_has_one_row_in_the_suites_order() -> None:
    assert [row.case for row in rows()] == CASES


def test_each_line_of_the_table_is_understood() -> None:
    lines = [line for line in TABLE.read_text(encoding="utf-8").splitlines() if line.startswith("| `")]
    assert len(lines) == len(CASES)
    assert sum(line.count("::") for line in lines) == sum(len(row.tests) for row in rows())


@pytest.mark.parametrize("row", rows(), ids=lambda row: row.case)
def test_a_case_has_tests_that_exist_or_a_reason(row: Row) -> None:
    assert row.tests or len(row.remark) > 20
    assert [name for file, name in row.tests if name not in functions_of(file)] == []
    assert len(set(row.tests)) == len(row.tests)


def test_tests_written_for_the_suite_name_the_cases_that_the_table_gives_them() -> None:
    given: dict[tuple[str, str], set[str]] = defaultdict(set)
    for row in rows():
        for test in row.tests:
            given[test].add(row.case)
    for path in sorted(TESTS.glob("unit/test_otp_*.py")):
        if path == Path(__file__):
            continue
        file = str(path.relative_to(TESTS))
        for name, doc in functions_of(file).items():
            claim = _CLAIM.match(doc)
            assert claim is not None, f"{name} names no case"
            assert set(re.split(r",\s+", claim[1])) == given[file, name], name


def test_no_test_of_the_table_sleeps() -> None:
    files = {file for row in rows() for file, _ in row.tests} | {"unit/supervisor_world.py"}
    assert [file for file in sorted(files) if "sleep(" in (TESTS / file).read_text(encoding="utf-8")] == []
