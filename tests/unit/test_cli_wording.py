"""Times, sizes and progress in docker's words."""

from __future__ import annotations

import pytest
from cli_engine import MINUTE, NOW, container

from vordr.cli import wording
from vordr.cli.progress import progress_line
from vordr.model.errors import UsageError
from vordr.model.lifecycle import State

S, H, D = 1_000_000, 60 * MINUTE, 24 * 60 * MINUTE


@pytest.mark.parametrize(("us", "text"), [
    (-5, "Less than a second"), (S - 1, "Less than a second"), (S, "1 second"), (59 * S, "59 seconds"),
    (60 * S, "About a minute"), (119 * S, "About a minute"), (2 * MINUTE, "2 minutes"),
    (59 * MINUTE, "59 minutes"),
    (H, "About an hour"), (2 * H, "2 hours"), (47 * H, "47 hours"), (2 * D, "2 days"), (13 * D, "13 days"),
    (14 * D, "2 weeks"), (60 * D, "2 months"), (729 * D, "24 months"), (800 * D, "2 years"),
])
def test_durations_are_dockers(us, text):
    assert wording.duration(us) == text


@pytest.mark.parametrize(("count", "text"), [
    (0, "0B"), (999, "999B"), (1000, "1kB"), (4_260_000, "4.26MB"), (123_456_789, "123MB"),
    (999_900, "1MB"), (5 * 10**12, "5TB"),
])
def test_sizes_are_dockers(count, text):
    assert wording.size(count) == text


@pytest.mark.parametrize(("made", "text"), [
    (container(state=State.RUNNING), "Up 5 minutes"),
    (container(state=State.PAUSED), "Up 5 minutes (Paused)"),
    (container(state=State.CREATED), "Created"), (container(state=State.STOPPED), "Exited (0) 2 minutes ago"),
    (container(state=State.STOPPED, exit_code=None), "Exited (unknown) 2 minutes ago"),
    (container(state=State.RUNNING, parked="crashed"), "Up 5 minutes (Parked)"),
])
def test_states_are_told_as_docker_does(made, text):
    assert wording.status(made, NOW) == text


@pytest.mark.parametrize("text", ["", "x", "10", "1d", "2026-13-01", "10mm", "2026-01-02T25:00:00Z"])
def test_a_time_is_read_or_refused_never_guessed(text):
    if text == "10":
        assert wording.parse_when(text, NOW) == 10 * S
        return
    with pytest.raises(UsageError):
        wording.parse_when(text, NOW)


def test_a_local_date_is_a_time():
    assert wording.parse_when("2026-01-02", NOW) < wording.parse_when("2026-01-02T00:00:01", NOW)


@pytest.mark.parametrize(("event", "line"), [
    ({"phase": "copy", "done": 0, "total": None}, "copy"),
    ({"phase": "copy", "done": 12_000_000, "total": None}, "copy 12MB"),
    ({"phase": "seal", "done": 1, "total": 2}, "seal [############            ] 1/2"),
    ({"phase": "seal", "done": 9, "total": 2}, "seal [########################] 9/2"),
    ({"phase": "a\x1b[2Jb", "done": None, "total": 0}, "a\\x1b[2Jb"),
])
def test_progress_is_one_line(event, line):
    assert progress_line(event) == line
