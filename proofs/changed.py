"""Names the cells in which the table of Lifecycle.v differs from the one that was last proved and printed.

Run by the Makefile when Coq refuses Lifecycle.v: what Coq says is about a theorem, this about the table. The
rows are read as text, for a theory that does not compile prints nothing.

    changed.py Lifecycle.v generated/lifecycle.json
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

_ROW = re.compile(
    r"^ *\| (\w+) +=> Row \[([\w; ]*)\] +\[([\w; ]*)\] +(\w+) +(\w+)" + 3 * r" +(true|false)", re.MULTILINE)
_FIDELITY = {"exact": "exact", "declared": "state"}


def rows(theory: str) -> dict[str, dict[str, Any]]:
    """The rows of ``Definition table`` by operation, in the words of the printed table."""
    return {
        op: {
            "sources": re.findall(r"\w+", sources), "targets": re.findall(r"\w+", targets),
            "inverse": inverse, "fidelity": _FIDELITY.get(truth, truth), "loses_memory": memory == "true",
            "creates_process": process == "true", "direct": direct == "true"}
        for op, sources, targets, inverse, truth, memory, process, direct in _ROW.findall(theory)}


def changes(theory: str, printed: dict[str, Any]) -> Iterator[str]:
    """Each difference in words; a source that came or went is a cell by its own name."""
    now = rows(theory)
    for old in printed["rows"]:
        op, new = old["op"], now.get(old["op"])
        if new is None:
            yield f"row {op}: is not to be read in Lifecycle.v"
            continue
        for state in sorted({*new["sources"]} ^ {*old["sources"]}):
            came = state in new["sources"]
            yield f"cell {op} from {state}: {'new' if came else 'gone'} in Lifecycle.v"
        for field in ("targets", "inverse", "fidelity", "loses_memory", "creates_process", "direct"):
            if new[field] != old[field]:
                yield f"row {op}: {field} is {new[field]} in Lifecycle.v, {old[field]} as it was proved"


if __name__ == "__main__":
    for line in changes(Path(sys.argv[1]).read_text(), json.loads(Path(sys.argv[2]).read_text())):
        print(f"proofs: {line}", file=sys.stderr)
