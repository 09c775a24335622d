"""Words that others chose (labels, commands, errors) on an administrator's terminal."""

from __future__ import annotations

import io
import json
import sys
from collections.abc import Callable

import pytest

from vordr.cli import output
from vordr.cli.failure import lines
from vordr.model.errors import RuntimeFailed

TITLE = "\x1b]0;pwn\x07\x9b2J\u202e\r"


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def said(stdout: io.StringIO, say: Callable[[], None], monkeypatch: pytest.MonkeyPatch) -> str:
    """What ``say`` prints; patched here, for pytest puts its own stdout in place when a test begins."""
    with monkeypatch.context() as patch:
        patch.setattr(sys, "stdout", stdout)
        say()
    return stdout.getvalue()


COLUMNS = (("NAMES", "Names"), ("LABELS", "Labels"))
ROWS = ({"Names": "web", "Labels": TITLE},)


@pytest.mark.parametrize("form", ["{{.Labels}}", "table {{.Names}}\t{{.Labels}}", "json", "table"])
def test_no_format_lets_a_label_move_the_cursor(form: str, monkeypatch: pytest.MonkeyPatch) -> None:
    found = said(Terminal(), lambda: output.print_formatted(ROWS, form, COLUMNS), monkeypatch)
    assert "0;pwn" in found
    # rich's own styling is all that may be left.
    assert [bad for bad in ("\x1b]", "\x07", "\x9b", "\u202e", "\r") if bad in found] == []


def test_json_for_a_person_moves_no_cursor(monkeypatch: pytest.MonkeyPatch) -> None:
    found = said(Terminal(), lambda: output.print_json({"label": TITLE}), monkeypatch)
    assert not {"\x1b", "\x9b", "\u202e"} & set(found)


def test_a_program_gets_the_words_as_they_are(monkeypatch: pytest.MonkeyPatch) -> None:
    plain = said(io.StringIO(), lambda: output.print_json({"label": TITLE}), monkeypatch)
    assert json.loads(plain) == {"label": TITLE}
    plain = said(io.StringIO(), lambda: output.print_formatted(ROWS, "{{.Labels}}", COLUMNS), monkeypatch)
    assert plain == TITLE + "\n"


def test_an_error_moves_no_cursor_with_its_cause_its_evidence_or_its_remedy() -> None:
    error = RuntimeFailed(TITLE, remedy=f"vordr rm {TITLE}", details={"cause": TITLE, "runtime": TITLE})
    told = "\n".join(lines(error))
    assert not {"\x1b", "\x07", "\x9b", "\u202e", "\r"} & set(told), repr(told)
