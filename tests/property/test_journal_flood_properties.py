"""Floods: nothing is lost in number, and no subject gets more than its share."""

from hypothesis import given
from hypothesis import strategies as st

from vordr.journal.flood import Flood, is_limited
from vordr.model.records import Cause, Draft, Kind

drafts = st.builds(
    lambda kind, subject, operation, writes: Draft(
        txn="t", kind=kind, cause=Cause.MONITOR, subject=subject, operation=operation,
        args={"writes": {}} if writes else {}),
    st.sampled_from([Kind.ANOMALY, Kind.DECISION, Kind.LOSS, Kind.BEGIN, Kind.DONE]),
    st.sampled_from(["a", "b"]), st.sampled_from("xyz"), st.booleans(),
)
arrivals = st.lists(st.tuples(st.integers(-500_000, 3_000_000), st.none() | drafts), max_size=120)
RATE, BURST = 2.0, 3


def play(arrivals):
    """(time, passed) for each arrival; an arrival of None asks what is due."""
    flood, now, passed = Flood(rate=RATE, burst=BURST), 10_000_000, []
    for delay, draft in arrivals:
        now += delay
        out = flood.due(now) if draft is None else flood.admit(draft, now)
        passed.append((draft, out, now))
    return flood, passed


@given(arrivals)
def test_every_draft_is_journalled_or_counted_once(arrivals):
    flood, passed = play(arrivals)
    came = [draft for draft, _, _ in passed if draft is not None]
    out = [one for _, outs, _ in passed for one in outs] + list(flood.flush())
    for subject in "ab":
        offered = [d for d in came if d.subject == subject]
        kept = [d for d in out if d.subject == subject]
        summaries = [d for d in kept if d.kind is Kind.SUMMARY]
        counted = sum(d.args["count"] for d in summaries)
        assert len(kept) - len(summaries) + counted == len(offered)
        assert all(sum(d.args["operations"].values()) == d.args["count"] > 0 for d in summaries)
    assert flood.flush() == ()


@given(arrivals)
def test_what_writes_or_is_part_of_an_act_always_passes_at_once(arrivals):
    for draft, outs, _ in play(arrivals)[1]:
        if draft is not None and not is_limited(draft):
            assert outs == (draft,)


@given(arrivals)
def test_no_subject_gets_more_than_its_burst_and_rate(arrivals):
    _, passed = play(arrivals)
    latest, times = 0, {"a": [], "b": []}
    for _, outs, now in passed:
        latest = max(latest, now)  # a clock set back does not refill the bucket
        for one in outs:
            if is_limited(one) or one.kind is Kind.SUMMARY:
                times[one.subject].append(latest)
    for stamps in times.values():
        for first in range(len(stamps)):
            for last in range(first, len(stamps)):
                seconds = (stamps[last] - stamps[first]) / 1e6
                assert last - first + 1 <= BURST + RATE * seconds + 1e-6


@given(arrivals)
def test_a_summary_comes_when_it_is_said_to_be_due(arrivals):
    flood, passed = play(arrivals)
    due = flood.next_due()
    now = max([now for _, _, now in passed], default=0)
    if due is not None:
        assert flood.due(max(due, now))
    else:
        assert flood.flush() == ()
