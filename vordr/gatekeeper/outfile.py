"""Files that a person asked for at a place of her own: whole and durable under their name, or not there."""

from __future__ import annotations

import contextlib
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
    there. ``mode`` are its permissions; None leaves them to the umask. Until then it has no name where the
    file system can do that (open(2), O_TMPFILE): whoever is killed meanwhile leaves nothing.

    Raises LayerSpaceExhausted, UsageError: it cannot be written.
    """
    aside = output.with_name(f".{secrets.token_hex(6)}")  # short: the name itself may be as long as can be
    try:
        nameless = _nameless(output.parent)
        with aside.open("xb") if nameless is None else open(nameless, "wb") as file:
            if mode is not None:
                os.fchmod(file.fileno(), mode)
            yield file
            file.flush()
            os.fsync(file.fileno())
            named = nameless is not None and _name(nameless, output, aside)
        if not named:
            os.rename(aside, output)
        durable.sync_folder(output.parent)
    except OSError as error:
        full = error.errno in (errno.ENOSPC, errno.EDQUOT)
        kind = LayerSpaceExhausted if full else UsageError
        raise kind(f"{output}: cannot be written: {error.strerror}",
                   remedy="name another place for the file") from error
    finally:
        with contextlib.suppress(OSError):
            aside.unlink()


def _name(nameless: int, output: Path, aside: Path) -> bool:
    """Give the file its name ``output``; where that is taken it is called ``aside``: then, False."""
    for place in (output, aside):
        with contextlib.suppress(FileExistsError):
            # The descriptor is not looked at, but makes it linkat(2), which alone follows the link.
            os.link(f"/proc/self/fd/{nameless}", place, src_dir_fd=nameless, follow_symlinks=True)
            return place is output
    raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), str(aside))


def _nameless(folder: Path) -> int | None:
    """A descriptor of a new file in ``folder`` that has no name; None where there is no such thing."""
    try:
        return os.open(folder, os.O_TMPFILE | os.O_WRONLY | os.O_CLOEXEC, 0o666)
    except OSError as error:
        if error.errno in (errno.EOPNOTSUPP, errno.EISDIR, errno.EINVAL):
            return None
        raise
