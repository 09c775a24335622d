"""What a benchmark finds: figures, some of them held against another of the same run."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Figure:
    """One number. ``ratio`` is it divided by ``against``, both taken in this run; ``bound`` is what the ratio
    may be at most (``least``: must be at least), None where nothing was promised."""

    name: str
    value: float
    unit: str
    against: str | None = None
    ratio: float | None = None
    bound: float | None = None
    least: bool = False
    processor: float | None = None

    @property
    def missed(self) -> bool:
        number = self.ratio if self.against is not None else self.value
        if self.bound is None or number is None:
            return False
        return number < self.bound if self.least else number > self.bound


def held(
    name: str, value: float, unit: str, peer: Figure, *, bound: float | None = None, least: bool = False,
    processor: float | None = None,
) -> Figure:
    """A figure and its ratio to ``peer``; for ``least`` turned round, so that more is better."""
    ratio = peer.value / value if least else value / peer.value
    return Figure(name, value, unit, peer.name, ratio, bound, least, processor)


def median(values: Iterable[float]) -> float:
    return statistics.median(values)


def table(title: str, figures: Sequence[Figure]) -> str:
    """The figures of one section as a person reads them."""
    lines = [f"{title:44}{'median':>11} {'':4}{'ratio':>7}  {'bound':>7}  {'client cpu':>10}"]
    for figure in figures:
        ratio = "" if figure.ratio is None else f"{figure.ratio:.2f}"
        sign = "≥" if figure.least else "≤"
        bound = "" if figure.bound is None else f"{sign} {figure.bound:g}"
        spent = "" if figure.processor is None else f"{figure.processor:.1f} ms"
        missed = "  missed" if figure.missed else ""
        value = f"{figure.value:11.4g} {figure.unit:4}"
        lines.append(f"{figure.name:44}{value}{ratio:>7}  {bound:>7}  {spent:>10}{missed}".rstrip())
    return "\n".join(lines)
