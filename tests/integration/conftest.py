"""One root folder and service that the acceptance tests share: each container has a name of its own."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from real_world import Instance, instance


@pytest.fixture(scope="session")
def world() -> Iterator[Instance]:
    """With trust, and the image ``hello`` in the store."""
    with instance() as made:
        made.pack()
        made.vordr("create", "--name", "importer", str(made.home / "hello.ctp"))
        made.vordr("rm", "importer")
        yield made
