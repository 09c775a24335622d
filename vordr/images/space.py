"""One translation of a full disk, so that every writer of layers reports it alike."""

from __future__ import annotations

import contextlib
import errno
from collections.abc import Iterator
from typing import Final

from vordr.model.errors import LayerSpaceExhausted

FULL: Final = frozenset((errno.ENOSPC, errno.EDQUOT))


@contextlib.contextmanager
def full_disk_is_space_exhausted(what: str) -> Iterator[None]:
    """Turn ENOSPC and EDQUOT of the block into LayerSpaceExhausted that names ``what`` was being written."""
    try:
        yield
    except OSError as error:
        if error.errno in FULL:
            raise LayerSpaceExhausted(f"no space left while writing {what}") from error
        raise
