"""Host id ranges for containers: which one a new container asks for."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import chain
from pathlib import Path
from typing import Any, Final

from vordr.model.errors import PolicyDenied
from vordr.model.records import busy_key
from vordr.model.spec import IdRange
from vordr.model.steps import range_key

FIRST_RANGE: Final = 100_000
RANGE_SIZE: Final = 65_536
MOST_RANGES: Final = 60_000
# Of these all ids are below 2^31: programs that keep an id in a signed number can show them.
LOW_RANGES: Final = ((1 << 31) - FIRST_RANGE) // RANGE_SIZE

Ids = tuple[int, int]
"""First of some ids, and how many there are."""


def free_range(journal: Any, container: str) -> tuple[IdRange, dict[str, Any]]:
    """A range of host ids that no container and nothing in the trash has, with the condition of taking it.

    :raises PolicyDenied: all are taken.
    """
    for ids in candidates(container, subordinate_ranges()):
        key = range_key(ids)
        if journal.get(key) is None and journal.get(busy_key(key)) is None:
            return ids, {key: None}
    raise PolicyDenied("all ranges of user ids are taken", remedy="empty the trash")


def candidates(container: str, others: Sequence[Ids]) -> Iterator[IdRange]:
    """Every range that meets none of ``others``, from a place that the id (hex) gives. Pure.

    So containers made at the same time ask for different ones, and the first is nearly always free; with the
    lowest free one for all, every create reads all that are taken and competes for one.
    """
    start = int(container[:8], 16) % LOW_RANGES
    for number in chain(range(start, LOW_RANGES), range(start), range(LOW_RANGES, MOST_RANGES)):
        first = FIRST_RANGE + number * RANGE_SIZE
        if not any(a < first + RANGE_SIZE and first < a + n for a, n in others):
            yield IdRange(first, RANGE_SIZE)


def subordinate_ranges(folder: Path = Path("/etc")) -> list[Ids]:
    """(first, count) of the ids that users of the host may take for themselves (subuid(5), subgid(5)).

    Debian gives the first user 100000 and on: in a namespace of its own that user would be our container's
    root, and could end its processes. Lines that cannot be read grant nothing.
    """
    found = []
    for name in ("subuid", "subgid"):
        try:
            lines = (folder / name).read_text(errors="replace").splitlines()
        except OSError:
            continue
        for line in lines:
            fields = line.split(":")
            if len(fields) == 3 and all(word.isascii() and word.isdigit() for word in fields[1:]):
                found.append((int(fields[1]), int(fields[2])))
    return found
