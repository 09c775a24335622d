"""Files that a person asked for at a place of her own: whole and durable under their name, or not there."""

from __future__ import annotations

import errno
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from vordr.gatekeeper import durable
from vordr.model.errors import LayerSpaceExhausted, UsageError


@contextmanager
def whole_or_absent(output: Path, mode: int | None = None) -> Iterator[BinaryIO]:
    """A file that gets the name ``output`` when the block ends well, durable by then, replacing what was
    there. ``mode`` are its permissions; None leaves them to the umask.

    Raises LayerSpaceExhausted, UsageError: it cannot be written.
    """
    aside = output.with_name(f".{output.name}.{secrets.token_hex(6)}")
    try:
        with aside.open("xb") as file:
            if mode is not None:
                os.fchmod(file.fileno(), mode)
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.rename(aside, output)
        durable.sync_folder(output.parent)
    except OSError as error:
        full = error.errno in (errno.ENOSPC, errno.EDQUOT)
        kind = LayerSpaceExhausted if full else UsageError
        raise kind(f"{output}: cannot be written: {error.strerror}",
                   remedy="name another place for the file") from error
    finally:
        aside.unlink(missing_ok=True)
