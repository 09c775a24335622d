"""What follows an end, by docker's policies."""

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


def test_delays_double_up_to_a_minute():
    delays = [delay(ended(restarts=n)) for n in range(12)]
    assert delays[:4] == [0.1, 0.2, 0.4, 0.8]
    assert delays[-1] == LONGEST_DELAY
    assert delay(ended(restarts=10**6)) == LONGEST_DELAY


def test_a_process_that_ran_well_begins_again_at_the_first_delay():
    assert delay(ended(restarts=9, ran=10)) == 0.1
