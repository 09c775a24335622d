"""The operator's first day: a signing key, three local logs, and the trust store that knows them.

All of it is made in a folder aside and then moved into place, the trust store last: while that is not there,
nothing was initialised. Leftovers of an attempt that was cut short are kept under another name, never
overwritten: they may hold the only copy of a key.
"""

from __future__ import annotations

import fcntl
import os
import re
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from vordr.formats.signature import PublicKey, Suite
from vordr.gatekeeper import durable, trust
from vordr.gatekeeper.keys import OPERATOR, KeyRing, log_key_name
from vordr.gatekeeper.translog import LocalLog
from vordr.gatekeeper.trust import ADOPTERS, BUILDERS, Group, TrustedKey, TrustedLog, TrustStore
from vordr.model.errors import StateLocked, TrustStoreInvalid, UsageError
from vordr.model.paths import Paths

_LETTERS: Final = "abc"


def trust_init(
    paths: Paths, owner: str, now_us: int, passphrase: str | None = None, host: str | None = None,
    suite: Suite = Suite.ED25519,
) -> TrustStore:
    """Make the operator's key (roles builders and adopters), three logs and the trust store.

    ``owner`` is the name that verdicts will show. ``passphrase`` locks the operator's key (the logs' keys
    stay open: they sign what is logged, not what is trusted). ``host``, by default this machine's name, is
    the H of the logs' ids H-log-a, H-log-b, H-log-c. ``suite`` is that of the operator's key; the logs sign
    with Ed25519. Files are 0600, folders 0700, all durable on return.

    Raises TrustStoreInvalid: there is a trust store already, or the disk failed; StateLocked: another one is
    being made; UsageError: no owner; KeyUnusable: an empty passphrase, or a suite that is not available here.
    """
    with prepared(paths, owner, now_us, passphrase, host, suite) as made:
        made.install()
    return trust.load(paths.trust_store)


@dataclass(frozen=True)
class Prepared:
    """Keys, logs and ``store``, made aside and not yet in place."""

    store: TrustStore
    _stage: Paths
    _paths: Paths
    _now_us: int

    def install(self) -> None:
        """Move them into place, durably. Raises TrustStoreInvalid: the disk failed, and nothing was kept."""
        try:
            _move_into_place(self._stage, self._paths, self._now_us)
        except OSError as error:
            raise _failed(self._paths, error) from error


@contextmanager
def prepared(
    paths: Paths, owner: str, now_us: int, passphrase: str | None = None, host: str | None = None,
    suite: Suite = Suite.ED25519,
) -> Iterator[Prepared]:
    """Make them aside, as :func:`trust_init`, to be installed within the block; nobody else makes any
    meanwhile. What was not installed is gone after it. Raises as :func:`trust_init`."""
    if not owner.strip() or not owner.isprintable() or len(owner) > 200:
        raise UsageError("the owner's name must be 1 to 200 printable characters",
                         remedy="vordr trust init --owner NAME")
    try:
        durable.private_folder(paths.root, 0o711)
        durable.private_folder(paths.trust)
        durable.private_folder(paths.keys)
        with _alone(paths), tempfile.TemporaryDirectory(prefix=".trust-init-", dir=paths.root) as aside:
            stage = Paths(Path(aside), paths.run)
            store = _make(stage, paths, owner.strip(), now_us, passphrase, _host_name(host), suite)
            yield Prepared(store, stage, paths, now_us)
    except OSError as error:
        raise _failed(paths, error) from error


def _failed(paths: Paths, error: OSError) -> TrustStoreInvalid:
    return TrustStoreInvalid(
        f"{paths.trust}: could not be made: {error.strerror}", remedy="nothing was kept; try again")


@contextmanager
def _alone(paths: Paths) -> Iterator[None]:
    fd = os.open(paths.trust, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise StateLocked(f"{paths.trust}: another trust store is being made") from error
        if os.path.lexists(paths.trust_store):
            raise TrustStoreInvalid(f"{paths.trust_store}: there is a trust store already")
        yield
    finally:
        os.close(fd)


def _host_name(host: str | None) -> str:
    plain = re.sub(r"[^a-z0-9-]+", "-", (host or os.uname().nodename).lower()).strip("-")
    return plain[:63] or "host"


def _make(
    stage: Paths, paths: Paths, owner: str, now_us: int, passphrase: str | None, host: str, suite: Suite
) -> TrustStore:
    ring = KeyRing(stage)
    operator = ring.create(OPERATOR, suite, passphrase).public
    logs = []
    for letter in _LETTERS:
        log_id = f"{host}-log-{letter}"
        key = ring.create(log_key_name(log_id))
        LocalLog.create(stage.logs / log_id, key)
        url = (paths.logs / log_id).absolute().as_uri()
        logs.append(TrustedLog(log_id, f"{owner} (local)", key.public, url))
    store = trust.checked(_store(host, owner, operator, tuple(logs), now_us))
    trust.save(store, stage.trust_store)
    return store


def _store(
    host: str, owner: str, operator: PublicKey, logs: tuple[TrustedLog, ...], now_us: int
) -> TrustStore:
    key = TrustedKey(operator, (BUILDERS, ADOPTERS), now_us, None, owner, f"operator of {host}")
    groups = (Group("release-signers", 1, (key.id,)), Group(ADOPTERS, 1, (key.id,)))
    return TrustStore(f"vordr-{host}", now_us, (key,), groups, logs)


def _move_into_place(stage: Paths, paths: Paths, now_us: int) -> None:
    """Keys, then logs, then the store; on a failure what was moved goes back, to vanish with the stage."""
    moves = [(path, paths.keys / path.name) for path in sorted(stage.keys.iterdir())]
    moves += [(path, paths.logs / path.name) for path in sorted(stage.logs.iterdir())]
    moves.append((stage.trust_store, paths.trust_store))
    durable.private_folder(paths.logs)
    done: list[tuple[Path, Path]] = []
    try:
        for source, target in moves:
            if os.path.lexists(target):
                os.rename(target, target.with_name(f"{target.name}.leftover-{now_us}"))
            if target == paths.trust_store:
                durable.sync_folder(paths.keys)
                durable.sync_folder(paths.logs)
            os.rename(source, target)
            done.append((source, target))
        durable.sync_folder(paths.trust)
    except OSError:
        for source, target in reversed(done):
            os.rename(target, source)
        raise
