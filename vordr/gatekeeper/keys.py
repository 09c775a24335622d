"""Private keys on disk: PKCS #8 PEM in the root folder's ``keys/``, one file per name, for their owner only.

A key may be locked with a passphrase (PBES2, see formats.pkcs8). A file that others can read is refused, as
ssh does: a key that may have leaked must not go on signing unnoticed.
"""

from __future__ import annotations

import os
import re
import stat
from pathlib import Path
from typing import Final

from vordr.formats.errors import FormatError
from vordr.formats.signature import PrivateKey, Suite
from vordr.gatekeeper import durable
from vordr.model.errors import KeyUnusable
from vordr.model.paths import Paths

OPERATOR: Final = "operator"
"""Name of the key with which this host's operator packs and adopts."""
HOST: Final = "host"
"""Name of the key that signs the journal's heads; never locked, made at first use."""
_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,99}")
_LARGEST_FILE = 64 * 1024


def log_key_name(log_id: str) -> str:
    """Name of the key of a local transparency log."""
    return f"log.{log_id}"


class KeyRing:
    """The keys of one root folder. Every method raises KeyUnusable for a name that is no plain word."""

    def __init__(self, paths: Paths) -> None:
        self._folder = paths.keys

    def path(self, name: str) -> Path:
        if not _NAME.fullmatch(name):
            raise KeyUnusable(f"not a key name: {name[:100]!r}", remedy="use a-z, 0-9, dot, dash, underscore")
        return self._folder / f"{name}.pem"

    def create(self, name: str, suite: Suite = Suite.ED25519, passphrase: str | None = None) -> PrivateKey:
        """Make and store a new key (0600, durable). Raises KeyUnusable: the name is taken, the passphrase is
        empty, the suite is not available here, or the disk failed."""
        path = self.path(name)
        try:
            durable.private_folder(self._folder)
        except OSError as error:
            raise KeyUnusable(f"{path}: cannot be written: {error.strerror}") from error
        return make_key(path, suite, passphrase)

    def load(self, name: str, passphrase: str | None = None) -> PrivateKey:
        """The stored key. Raises KeyUnusable: no such key, others can read its file, a missing, wrong or
        needless passphrase, or a damaged file."""
        return load_key(self.path(name), passphrase)

    def names(self) -> list[str]:
        """The names of all keys, sorted."""
        return sorted(path.stem for path in self._folder.glob("*.pem") if _NAME.fullmatch(path.stem))


def load_host_key(paths: Paths) -> PrivateKey:
    """The host's own Ed25519 key, made at first use. Two processes that come at once get the same one.

    Raises KeyUnusable.
    """
    ring = KeyRing(paths)
    if not ring.path(HOST).exists():
        try:
            ring.create(HOST)
        except KeyUnusable:
            if not ring.path(HOST).exists():
                raise
    return ring.load(HOST)


def make_key(path: Path, suite: Suite, passphrase: str | None = None) -> PrivateKey:
    """A new key in a new file (0600, durable), as :meth:`KeyRing.create` but at a place of one's own.

    Raises KeyUnusable: the file is there already, the passphrase is empty, the suite is not available here,
    or the disk failed.
    """
    try:
        key = PrivateKey.generate(suite)
        pem = key.to_pem(None if passphrase is None else passphrase.encode())
    except FormatError as error:
        raise KeyUnusable(f"{path}: {error.message}") from error
    try:
        durable.write_new(path, pem)
    except FileExistsError as error:
        raise KeyUnusable(f"{path}: a key of that name exists already") from error
    except OSError as error:
        raise KeyUnusable(f"{path}: cannot be written: {error.strerror}") from error
    return key


def load_key(path: Path, passphrase: str | None = None) -> PrivateKey:
    """The private key in a file of its owner's, PKCS #8 PEM. Raises KeyUnusable as :meth:`KeyRing.load`."""
    pem = _read_private(path)
    try:
        return PrivateKey.from_pem(pem, None if passphrase is None else passphrase.encode())
    except FormatError as error:
        raise KeyUnusable(f"{path}: {error.message}") from error


def _read_private(path: Path) -> bytes:
    try:
        fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK)
    except FileNotFoundError as error:
        raise KeyUnusable(f"{path}: there is no such key", remedy="vordr trust init") from error
    except OSError as error:
        raise KeyUnusable(f"{path}: cannot be opened: {error.strerror}") from error
    with os.fdopen(fd, "rb") as file:
        found = os.fstat(fd)
        if not stat.S_ISREG(found.st_mode):
            raise KeyUnusable(f"{path}: not a regular file")
        if found.st_mode & 0o077:
            raise KeyUnusable(
                f"{path}: others than its owner have access (mode {stat.S_IMODE(found.st_mode):04o})",
                remedy=f"chmod 600 {path}, and replace the key if somebody may have read it",
            )
        if found.st_uid not in (0, os.geteuid()):
            raise KeyUnusable(f"{path}: belongs to uid {found.st_uid}", remedy=f"chown root {path}")
        return file.read(_LARGEST_FILE)
