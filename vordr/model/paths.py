"""Where everything of one instance lives: pure path arithmetic over a root folder and its runtime folder."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

DEFAULT_ROOT = Path("/var/lib/vordr")
RUNTIME_BASE = Path("/run/vordr")


def _hex(digest: str) -> str:
    return digest.removeprefix("sha256:")


@dataclass(frozen=True)
class Paths:
    """``root`` survives a reboot; ``run`` holds mounts, sockets and runtime state and does not."""

    root: Path
    run: Path

    @staticmethod
    def of(root: Path) -> Paths:
        """The paths of the instance in ``root`` (already resolved); one root, one runtime folder."""
        return Paths(root, RUNTIME_BASE / hashlib.sha256(str(root).encode()).hexdigest()[:16])

    @property
    def journal(self) -> Path:
        return self.root / "journal" / "db"

    @property
    def journal_head(self) -> Path:
        return self.root / "journal" / "head"

    @property
    def secrets(self) -> Path:
        return self.root / "secrets"

    @property
    def keys(self) -> Path:
        return self.root / "keys"

    @property
    def trust(self) -> Path:
        return self.root / "trust"

    @property
    def trust_store(self) -> Path:
        return self.trust / "trust-store.json"

    @property
    def seen(self) -> Path:
        """What was seen of trust stores and logs, which nobody may take back."""
        return self.trust / "seen.json"

    @property
    def logs(self) -> Path:
        """State of the local transparency log operators, one folder each."""
        return self.trust / "logs"

    @property
    def store(self) -> Path:
        return self.root / "store"

    @property
    def bundles(self) -> Path:
        return self.root / "bundles"

    @property
    def layers(self) -> Path:
        return self.root / "layers"

    @property
    def containers(self) -> Path:
        return self.root / "containers"

    @property
    def trash(self) -> Path:
        return self.root / "trash"

    @property
    def exits(self) -> Path:
        return self.root / "exits"

    @property
    def lock(self) -> Path:
        return self.root / "lock"

    @property
    def socket(self) -> Path:
        return self.root / "vordr.sock"

    @property
    def config(self) -> Path:
        return self.root / "vordr.toml"

    @property
    def runtime_state(self) -> Path:
        """``--root`` of runc or crun."""
        return self.run / "runc"

    def bundle(self, digest: str) -> Path:
        return self.bundles / f"{_hex(digest)}.json"

    def layer(self, diff_id: str) -> Path:
        return self.layers / f"{_hex(diff_id)}.erofs"

    def container(self, container: str) -> Path:
        return self.containers / container

    def container_run(self, container: str) -> Path:
        return self.run / "c" / container

    def log(self, container: str) -> Path:
        return self.container(container) / "log" / "ctr.log"

    def trashed(self, item: str) -> Path:
        return self.trash / item
