"""What exists is found without reading what was removed."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from whole_engine import Whole, planted

from vordr.engine.finding import all_containers, find_removed


@pytest.fixture
def whole(tmp_path: Path) -> Iterator[Whole]:
    made = planted(tmp_path / "root")
    for name in ("stays", "went", "came-back"):
        made.run(name)
    for name in ("went", "came-back"):
        made.do("remove", name, force=True)
    made.call("undo")
    yield made
    made.close()


class Seen:
    """A journal that remembers which spaces were read from end to end."""

    def __init__(self, journal: Any) -> None:
        self._journal = journal
        self.scanned: list[str] = []

    def scan(self, prefix: str, *, reverse: bool = False) -> Any:
        self.scanned.append(prefix)
        return self._journal.scan(prefix, reverse=reverse)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._journal, name)


def test_the_containers_that_are_there_are_those_with_a_name(whole: Whole) -> None:
    seen = Seen(whole.journal)
    found = list(all_containers(seen))
    assert {container.name for container in found} == {"stays", "came-back"}
    assert [container.id for container in found] == sorted(container.id for container in found)
    assert seen.scanned == ["names/"]


def test_a_removed_container_is_found_by_its_id_without_reading_the_trash(whole: Whole) -> None:
    (removed,) = (c.id for c in whole.containers().values() if c.name == "went")
    seen = Seen(whole.journal)
    assert find_removed(seen, removed).name == "went"
    assert seen.scanned == []
    assert find_removed(whole.journal, "went").id == find_removed(whole.journal, removed[:6]).id == removed
