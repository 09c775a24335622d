"""What follows an end, by docker's policies."""

import msgspec
import pytest

from vordr.model.lifecycle import State
from vordr.model.restart import LONGEST_DELAY, Sequel, after_exit, delay
from vordr.model.spec import ContainerSpec, parse_restart
from vordr.model.state import ContainerState

SECOND = 1_000_000


def ended(policy="no", *, code=0, asked=False, restarts=0, ran=1.0, rm=False):
    return ContainerState(
        id="c" * 64, name="web", image="sha256:0", image_name="tiny", state=State.STOPPED,
        spec=ContainerSpec(restart=parse_restart(policy), auto_remove=rm), exit_code=code,
        asked_to_stop=asked, restarts=restarts, started=SECOND, finished=SECOND + round(ran * SECOND))


@pytest.mark.parametrize(
    ("container", "sequel"),
    [
        (ended("no", code=1), Sequel.NOTHING),
        (ended("always"), Sequel.RESTART),
        (ended("always", code=1), Sequel.RESTART),
        (ended("always", asked=True), Sequel.NOTHING),
        (ended("unless-stopped", code=None), Sequel.RESTART),
        (ended("unless-stopped", asked=True), Sequel.NOTHING),
        (ended("on-failure"), Sequel.NOTHING),
        (ended("on-failure", code=1, restarts=1000), Sequel.RESTART),
        (ended("on-failure", code=None), Sequel.RESTART),
        (ended("on-failure:3", code=1, restarts=2), Sequel.RESTART),
        (ended("on-failure:3", code=1, restarts=3), Sequel.NOTHING),
        (ended(rm=True), Sequel.REMOVE),
        (ended(rm=True, code=None), Sequel.REMOVE),
        (ended(rm=True, asked=True), Sequel.NOTHING),
    ])
def test_what_follows(container, sequel):
    assert after_exit(container).sequel is sequel


@pytest.mark.parametrize(
    ("container", "reason"),
    [
        (ended("always", asked=True), ""),
        (ended("no"), ""),
        (ended(rm=True), "--rm"),
        (ended("on-failure"), "ended well"),
        (ended("on-failure:3", code=1, restarts=3), "gave up after 3 restarts"),
        (ended("on-failure:3", code=1, restarts=2), "restart policy on-failure:3"),
    ])
def test_what_follows_says_why(container, reason):
    assert after_exit(container).reason == reason


def test_a_restart_comes_after_its_delay_and_nothing_else_waits():
    assert after_exit(ended("always", restarts=2)).delay == delay(ended(restarts=2)) == 0.4
    assert after_exit(ended("on-failure", restarts=2)).delay == after_exit(ended(rm=True)).delay == 0


@pytest.mark.parametrize(("started", "finished", "first"), [
    (SECOND, 11 * SECOND, True), (SECOND, 11 * SECOND - 1, False), (None, 10 * SECOND, True),
    (None, 10 * SECOND - 1, False), (20 * SECOND, None, False), (None, None, False),
    (6 * SECOND, 6 * SECOND, False),
])
def test_how_long_a_process_ran_is_from_its_start_to_its_end(started, finished, first):
    container = msgspec.structs.replace(ended(restarts=4), started=started, finished=finished)
    assert delay(container) == (0.1 if first else 1.6)


def test_delays_double_up_to_a_minute():
    delays = [delay(ended(restarts=n)) for n in range(12)]
    assert delays[:4] == [0.1, 0.2, 0.4, 0.8]
    assert delays[-1] == LONGEST_DELAY
    assert delay(ended(restarts=10**6)) == LONGEST_DELAY


def test_a_process_that_ran_well_begins_again_at_the_first_delay():
    assert delay(ended(restarts=9, ran=10)) == 0.1
