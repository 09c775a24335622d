"""Specifications that cannot stand are refused, and the refusal names child, field and value."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest

from vordr.actors.childspec import (
    BRUTAL,
    INFINITY,
    AutoShutdown,
    Backoff,
    ChildSpec,
    ChildType,
    OnExceed,
    Restart,
    Strategy,
    SupervisorSpec,
    check_children,
)
from vordr.model.errors import SupervisionError


def start(context: Any) -> Any:
    raise AssertionError("nothing is started here")


def child(id: Any = "web", **fields: Any) -> Callable[[], ChildSpec]:
    return lambda: ChildSpec(id, fields.pop("start", start), **fields)


def flags(**fields: Any) -> Callable[[], SupervisorSpec]:
    return lambda: SupervisorSpec(**fields)


def together(spec: SupervisorSpec, *children: Any) -> Callable[[], None]:
    return lambda: check_children(spec, children)


ALL, REST = Strategy.ONE_FOR_ALL, Strategy.REST_FOR_ONE
SIGNIFICANT = ChildSpec("web", start, restart=Restart.TRANSIENT, significant=True)

FAULTY: list[tuple[Callable[[], object], str]] = [
    (lambda: Backoff(initial=-1), "backoff times are seconds ≥ 0"),
    (lambda: Backoff(max=math.inf), "backoff times are seconds ≥ 0"),
    (lambda: Backoff(initial=True), "backoff times are seconds ≥ 0"),
    (lambda: Backoff(max="1"), "backoff times are seconds ≥ 0"),  # type: ignore[arg-type]  # that is the point
    (lambda: Backoff(factor=0.9), "backoff factor 0.9 is below 1"),
    (lambda: Backoff(jitter=1.1), "backoff jitter 1.1 is not in 0…1"),
    (lambda: Backoff(jitter=-0.1), "backoff jitter -0.1 is not in 0…1"),
    (child(""), "a child needs an id"),
    (child(7), "a child needs an id"),
    (child(start=None), "web: start is not callable"),
    (child(restart="always"), "web: restart 'always'"),
    (child(type="worker!"), "web: type 'worker!'"),
    (child(significant=1, restart=Restart.TRANSIENT), "web: significant 1"),
    (child(significant=True), "web: a permanent child cannot be significant"),
    (child(shutdown=-1), "web: shutdown -1"),
    (child(shutdown="soon"), "web: shutdown 'soon'"),
    (child(start_timeout=-1), "web: start_timeout -1"),
    (child(start_timeout=BRUTAL), f"web: start_timeout {BRUTAL!r}"),
    (flags(strategy="any"), "strategy 'any'"),
    (flags(intensity=-1), "intensity -1"),
    (flags(intensity=True), "intensity True"),
    (flags(intensity=1.0), "intensity 1.0"),
    (flags(period=0), "period 0"),
    (flags(period=math.inf), "period inf"),
    (flags(auto_shutdown="any"), "auto_shutdown 'any'"),
    (flags(on_exceed="rest"), "on_exceed 'rest'"),
    (flags(strategy=ALL, on_exceed=OnExceed.PARK), "only one_for_one can park a child"),
    (flags(strategy=REST, dynamic=True), "only one_for_one can be dynamic"),
    (flags(dynamic=True, auto_shutdown=AutoShutdown.ANY_SIGNIFICANT), "auto_shutdown means nothing where"),
    (together(SupervisorSpec(), "web"), "'web' is no child specification"),
    (together(SupervisorSpec(), child("a")(), child("b")(), child("a")()), "two children are called a"),
    (together(SupervisorSpec(), SIGNIFICANT), "web: significant means nothing under auto_shutdown never"),
]


@pytest.mark.parametrize(("make", "words"), FAULTY)
def test_a_faulty_specification_is_refused_in_words_that_name_it(
    make: Callable[[], object], words: str
) -> None:
    with pytest.raises(SupervisionError) as refusal:
        make()
    assert str(refusal.value).startswith(f"faulty specification: {words}")


def test_what_is_at_the_edge_of_the_allowed_stands() -> None:
    edge = Backoff(initial=0, max=0, factor=1, jitter=0), Backoff(jitter=1)
    assert [one.jitter for one in edge] == [0, 1]
    assert SupervisorSpec(intensity=0, period=0.001).intensity == 0
    assert child(shutdown=0, start_timeout=0)().shutdown == 0
    check_children(SupervisorSpec(auto_shutdown=AutoShutdown.ALL_SIGNIFICANT), [SIGNIFICANT])
    assert SupervisorSpec(dynamic=True, on_exceed=OnExceed.PARK).dynamic


@pytest.mark.parametrize(("type", "shutdown", "start_timeout"), [
    (ChildType.WORKER, 5.0, 60.0), (ChildType.SUPERVISOR, INFINITY, INFINITY)])
def test_a_worker_has_five_seconds_to_stop_and_sixty_to_start_and_a_supervisor_its_childrens(
    type: ChildType, shutdown: Any, start_timeout: Any
) -> None:
    left_out = child(type=type)()
    assert (left_out.shutdown, left_out.start_timeout) == (shutdown, start_timeout)
    given = child(type=type, shutdown=BRUTAL, start_timeout=1)()
    assert (given.shutdown, given.start_timeout) == (BRUTAL, 1)
