"""The gatekeeper's word that an image may become a process.

Only :mod:`vordr.gatekeeper.decide` makes one: the constructor is closed to everybody else, in the manner of
trio's classes without a public constructor, and a test walks the code for other callers of the maker.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any, Never, final


class _Closed(type):
    def __call__(cls, *args: object, **kwargs: object) -> Never:
        raise TypeError(f"{cls.__name__} comes from gatekeeper.decide alone")

    def _issue(cls, **values: Any) -> Any:
        """Make an instance; for gatekeeper.decide only."""
        return super().__call__(**values)


@dataclass(frozen=True)
class Evidence:
    """One verified step: its number and name in the spec, what was checked, and by which keys or logs."""

    step: int
    name: str
    text: str
    keys: tuple[str, ...] = ()
    logs: tuple[str, ...] = ()


@final
@dataclass(frozen=True)
class Verdict(metaclass=_Closed):
    """An image that passed strict verification.

    Digests are ``sha256:<hex>``; times are µs since the epoch. ``layers`` are (blob digest, diffID) pairs in
    order from the bottom. ``origin`` is ``adopted`` or ``published``; ``attested_by`` names who vouches, in
    words a person reads. It holds until ``expires`` and for trust epoch ``epoch`` only.
    """

    manifest: str
    config: str
    layers: tuple[tuple[str, str], ...]
    bundle: str
    trust: str
    policy: str
    epoch: int
    origin: str
    attested_by: str
    keys: tuple[str, ...]
    logs: tuple[str, ...]
    evidence: tuple[Evidence, ...]
    decided: int
    expires: int

    def to_record(self) -> dict[str, Any]:
        """The verdict as the journal's args (JSON-safe; evidence as a list of objects)."""
        plain = {f.name: getattr(self, f.name) for f in fields(self)}
        plain["layers"] = [list(pair) for pair in self.layers]
        plain["keys"], plain["logs"] = list(self.keys), list(self.logs)
        plain["evidence"] = [
            {"step": e.step, "name": e.name, "text": e.text, "keys": list(e.keys), "logs": list(e.logs)}
            for e in self.evidence
        ]
        return plain
