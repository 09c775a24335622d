"""The decisions of restarts.py hold for all values."""

from __future__ import annotations

from hypothesis import example, given
from hypothesis import strategies as st

from vordr.actors import restarts
from vordr.actors.childspec import AutoShutdown, Backoff, Restart, Strategy
from vordr.actors.reasons import Crashed, Fatal, Killed, Normal, Shutdown, is_abnormal

GAPS = st.lists(st.floats(0, 20, allow_nan=False), max_size=60)
REASONS = st.sampled_from(
    [Normal(), Shutdown(), Shutdown("why"), Killed(), Crashed(ValueError("x")), Fatal("j", Killed())]
)
IDS = st.lists(st.text(min_size=1, max_size=3), min_size=1, max_size=8, unique=True)


@example([1.9844207882775713, 13.174590623672186, 1.7112981537898726], 1, 1.7112981537898726)
@given(GAPS, st.integers(0, 6), st.floats(0.1, 30))
def test_no_window_of_one_period_holds_more_than_intensity_restarts(
    gaps: list[float], intensity: int, period: float
) -> None:
    now, times, admitted = 0.0, (), []
    for gap in gaps:
        now += gap
        allowed, times = restarts.admit(times, now, intensity, period)
        if allowed:
            admitted.append(now)
    for start in admitted:
        assert sum(start <= time <= start + period for time in admitted) <= intensity


@given(GAPS, st.integers(0, 6), st.floats(0.1, 30))
def test_a_restart_is_refused_only_when_the_window_is_full(
    gaps: list[float], intensity: int, period: float
) -> None:
    now, times, admitted = 0.0, (), []
    for gap in gaps:
        now += gap
        allowed, times = restarts.admit(times, now, intensity, period)
        full = sum(time + period >= now for time in admitted) >= intensity
        assert allowed != full
        if allowed:
            admitted.append(now)
        assert len(times) <= intensity


@given(st.sampled_from(Strategy), IDS, st.data())
def test_affected_children_keep_their_order_and_hold_the_failed_one(
    strategy: Strategy, ids: list[str], data: st.DataObject
) -> None:
    failed = data.draw(st.sampled_from(ids))
    group = restarts.affected(strategy, ids, failed)
    assert failed in group
    assert list(group) == [id for id in ids if id in group]
    match strategy:
        case Strategy.ONE_FOR_ONE:
            assert group == (failed,)
        case Strategy.ONE_FOR_ALL:
            assert list(group) == ids
        case Strategy.REST_FOR_ONE:
            assert group[0] == failed and group[-1] == ids[-1]


@given(
    st.builds(
        Backoff,
        initial=st.floats(0, 100),
        factor=st.floats(1, 50),
        max=st.floats(0, 1000),
        jitter=st.floats(0, 1),
    ),
    st.integers(1, 10_000),
    st.floats(0, 1, exclude_max=True),
)
def test_a_delay_is_bounded_grows_without_jitter_and_jitter_only_shortens(
    backoff: Backoff, attempt: int, chance: float
) -> None:
    plain = restarts.delay(backoff, attempt, 0.0)
    assert 0 <= plain <= backoff.max
    assert plain <= restarts.delay(backoff, attempt + 1, 0.0)
    jittered = restarts.delay(backoff, attempt, chance)
    assert plain * (1 - backoff.jitter) <= jittered * (1 + 1e-9) and jittered <= plain


@given(st.sampled_from(Restart), st.booleans(), REASONS)
def test_what_follows_an_end_depends_on_restart_type_and_reason_alone(
    restart: Restart, fatal: bool, reason: restarts.Reason
) -> None:
    after = restarts.after_exit(restart, fatal, reason)
    if isinstance(reason, Fatal) or (fatal and is_abnormal(reason)):
        assert after is restarts.After.FATAL
    elif restart is Restart.TEMPORARY:
        assert after is restarts.After.LEAVE
    else:
        assert (after is restarts.After.RESTART) == (restart is Restart.PERMANENT or is_abnormal(reason))


@given(st.sampled_from(AutoShutdown), st.booleans(), st.lists(st.booleans(), max_size=5))
def test_only_the_end_of_a_significant_child_shuts_down(
    mode: AutoShutdown, significant: bool, others: list[bool]
) -> None:
    due = restarts.auto_shutdown_due(mode, significant, others)
    assert not due or (significant and mode is not AutoShutdown.NEVER)
    if significant and mode is AutoShutdown.ALL_SIGNIFICANT:
        assert due == (True not in others)


@given(st.lists(st.floats(0, 2e9), max_size=20), st.floats(0, 2e9), st.floats(0, 1e6))
def test_seeded_times_are_never_in_the_future_and_sorted(
    wall: list[float], now_wall: float, now: float
) -> None:
    seeded = restarts.to_monotonic(wall, now_wall, now)
    assert list(seeded) == sorted(seeded) and len(seeded) == len(wall)
    assert all(time <= now for time in seeded)
