"""Values that no record may hold: environment variables and secrets of containers, one deletable file each.

A file ``<container>.json`` (0600, in a 0700 folder) holds a random key and the values. The journal, the
spec and the state digest carry only keyed digests, ``hmac-sha256:<hex>`` of HMAC-SHA-256(key, name ‖ 0x00 ‖
value): with the file gone, nobody can test a guess against them. The key stays while the file does, so the
same value has the same digest.
"""

from __future__ import annotations

import hashlib
import hmac
import os
import re
import secrets
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import msgspec

from vordr.formats.typed import decode
from vordr.model.errors import StateError, UsageError
from vordr.model.paths import Paths

_NAME: Final = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9_.-]{0,127}")
_PREFIX: Final = "hmac-sha256:"


class _File(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    key: bytes
    values: dict[str, str]


class SecretStore:
    """The secrets folder of one instance. Every change is durable when the call returns."""

    def __init__(self, paths: Paths) -> None:
        self._folder = paths.secrets

    def put(self, container: str, values: Mapping[str, str]) -> dict[str, str]:
        """Keep ``values`` (name → value) as those of ``container``, instead of any before; gives their keyed
        digests. Without values nothing is kept.

        :raises UsageError: a value that is not text (UTF-8 cannot carry it).
        :raises StateError: the file cannot be written.
        """
        path = self._path(container)
        if not values:
            self.delete(container)
            return {}
        before = self._read(container)
        key = before.key if before is not None else secrets.token_bytes(32)
        try:
            data = msgspec.json.encode(_File(key, dict(values)))
        except UnicodeEncodeError:
            raise UsageError("the value of an environment variable is not valid UTF-8")
        try:
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            _replace(path, data)
        except OSError as error:
            raise StateError(f"secrets cannot be kept in {self._folder}: {error.strerror}")
        return {name: keyed_digest(key, name, value) for name, value in values.items()}

    def get(self, container: str, digests: Mapping[str, str] | None = None) -> dict[str, str]:
        """The values of ``container``, {} when it has none. With ``digests`` (name → keyed digest, as the
        spec has them) exactly the values of these names, each checked.

        :raises StateError: the file is damaged, or a value is gone or not the one of its digest.
        """
        file = self._read(container)
        if digests is None:
            return dict(file.values) if file is not None else {}
        found: dict[str, str] = {}
        for name, digest in digests.items():
            if file is None or name not in file.values:
                raise StateError(f"the value of {name} for {container[:12]} is gone from {self._folder}")
            if not hmac.compare_digest(keyed_digest(file.key, name, file.values[name]), digest):
                raise StateError(f"the value of {name} for {container[:12]} is not the one journalled")
            found[name] = file.values[name]
        return found

    def delete(self, container: str) -> None:
        """Forget the values and their key. Nothing happens when there are none."""
        try:
            self._path(container).unlink()
            _sync_folder(self._folder)
        except FileNotFoundError:
            pass
        except OSError as error:
            raise StateError(f"secrets in {self._folder} cannot be deleted: {error.strerror}")

    def _path(self, container: str) -> Path:
        if _NAME.fullmatch(container) is None:
            raise UsageError(f"not a container id: {container!r}")
        return self._folder / f"{container}.json"

    def _read(self, container: str) -> _File | None:
        path = self._path(container)
        try:
            return decode(path.read_bytes(), _File)
        except FileNotFoundError:
            return None
        except (OSError, msgspec.MsgspecError) as error:
            raise StateError(f"the secrets file {path} cannot be read: {error}")


def keyed_digest(key: bytes, name: str, value: str) -> str:
    """``hmac-sha256:<hex>`` of one value under a file's key."""
    return _PREFIX + hmac.new(key, name.encode() + b"\0" + value.encode(), hashlib.sha256).hexdigest()


def _replace(path: Path, data: bytes) -> None:
    temporary = path.with_name(path.name + ".new")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    with open(descriptor, "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(descriptor)
    os.rename(temporary, path)
    _sync_folder(path.parent)


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
