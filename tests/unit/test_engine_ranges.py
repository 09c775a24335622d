"""Host id ranges: every container another one, without looking at those that are taken."""

import itertools

import pytest

from vordr.engine.handlers.ranges import FIRST_RANGE, MOST_RANGES, RANGE_SIZE, candidates, free_range
from vordr.model.errors import PolicyDenied

ID = "0000002a" + "0" * 56


class Keys:
    """A journal that can be asked for single keys, and counts how often it is."""

    def __init__(self, *taken: str) -> None:
        self.taken = set(taken)
        self.asked = 0

    def get(self, key: str) -> str | None:
        self.asked += 1
        return "somebody" if key in self.taken else None


def first(number: int) -> int:
    return FIRST_RANGE + number * RANGE_SIZE


def test_every_range_is_a_candidate_once_and_all_ids_are_below_the_last_one():
    found = [ids.first for ids in candidates(ID, [])]
    assert sorted(found) == [first(number) for number in range(MOST_RANGES)]
    assert max(found) + RANGE_SIZE < 2**32 - 1


def test_ids_that_fit_into_a_signed_number_go_first():
    found = [ids.first for ids in candidates("f" * 64, [])]
    low = [at for at in found if at + RANGE_SIZE <= 2**31]
    assert found[:len(low)] == low


def test_containers_begin_at_places_of_their_own():
    places = {next(candidates(f"{number * 7919:08x}" + "0" * 56, [])).first for number in range(1000)}
    assert len(places) == 1000


def test_a_free_range_costs_two_looks_however_many_are_taken():
    journal = Keys(*(f"ranges/{first(number)}" for number in range(1000, 30_000)))
    ids, condition = free_range(journal, ID)
    assert (ids.first, condition, journal.asked) == (first(42), {f"ranges/{first(42)}": None}, 2)


@pytest.mark.parametrize("prefix", ["", "busy/"])
def test_what_is_taken_or_about_to_be_is_passed_over(prefix):
    ids, _ = free_range(Keys(f"{prefix}ranges/{first(42)}", f"ranges/{first(43)}"), ID)
    assert ids.first == first(44)


def test_where_all_are_taken_it_says_what_to_do():
    everything = Keys(*(f"ranges/{first(number)}" for number in range(MOST_RANGES)))
    with pytest.raises(PolicyDenied, match="all ranges"):
        free_range(everything, ID)


def test_no_candidate_meets_ids_of_others():
    others = [(first(40) + 1, 1), (first(44) - 1, 2)]
    found = [ids.first for ids in itertools.islice(candidates(f"{40:08x}", others), 3)]
    assert found == [first(41), first(42), first(45)]
