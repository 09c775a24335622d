"""Of several that want one name back, who is named as in the way; and what one is called that comes twice."""

from __future__ import annotations

from test_model_plan_parts import act, blocked_by, done, restored, undone

MADE = [act(str(n), done(one, "create", "uncreate"), seq=n) for n, one in ((1, "a"), (2, "b"))]
LOST = [act("3", restored("a", "web"), seq=3), act("4", restored("b", "web"), seq=4)]


def test_who_lost_a_name_last_is_in_the_way_also_of_one_that_came_back_since() -> None:
    back = act("5", done("a", "restore", "remove", {"name": "old"}), seq=5)
    assert blocked_by([*MADE, *LOST, back], *LOST, back) == ["2"]


def test_who_will_have_no_name_hides_nobody_that_is_in_the_way() -> None:
    newest = act("6", done("c", "create", "uncreate"), seq=6)
    assert blocked_by([*MADE, *LOST, newest], *LOST, newest) == ["2"]


def test_who_comes_back_twice_does_so_under_its_id_only_before_it_goes_to_lie_under_a_name() -> None:
    steps = undone(
        done("a", "restore", "remove", {"name": "old"}), restored("a", "db"),
        done("a", "restore", "remove"), restored("a", "web"))
    assert [(step.operation, step.args.get("name")) for step in steps] == [
        ("restore", "web"), ("remove", None), ("restore", "a"), ("remove", "old")]
