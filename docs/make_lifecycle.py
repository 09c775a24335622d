"""Writes docs/lifecycle.md from the table in vordr/model/lifecycle.py; a test compares the two.

    python docs/make_lifecycle.py
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Final

from vordr.model.lifecycle import TABLE, Row, State, allowed

PAGE: Final = Path(__file__).with_name("lifecycle.md")

_INTRODUCTION: Final = """\
# Lifecycle

Made from `vordr/model/lifecycle.py` by `python docs/make_lifecycle.py`: change the table there, not here.

The table is read by the state machine of the container actor, by the message of a refused operation, by the
planning of undo, and by this page. An operation from a state that its row does not name is refused, and
nothing is journalled.
"""

_NOTES: Final = """\
*Fidelity* is that of the inverse: `exact` to the byte, `state` to the declared state (the state digest of
[formats.md](formats.md#state-digest)). *Lost* is what the inverse cannot bring back; some steps name more
when they are planned (see `vordr undo --dry-run`). *Verdict*: the operation needs one, because it makes a
process or prepares for one. An operation with several targets is told by its argument which to reach.

A container that was started has at least one generation: a writable layer, opened by `start` and by nothing
else. `unstart` takes the newest one away, `reopen` brings it back. `revive` starts the process again on the
generations that are there; restart policies use it too, with cause `policy`
([decision 0003](decisions/0003-policy-restart-is-revive.md)).
"""


def text() -> str:
    """The whole page."""
    people = [row for row in TABLE if row.direct or row.op == "exit"]
    inverses = [row for row in TABLE if row not in people]
    parts = (
        _INTRODUCTION,
        "## What people and the kernel do\n\n" + _table(people),
        "## What takes it back\n\nOnly an undo, a redo, a recovery, `vordr trash restore` or a restart "
        "policy performs these.\n\n" + _table(inverses),
        _NOTES,
        "## Diagram\n\nDrawn through: what people and the kernel do. The inverses are in the table above.\n\n"
        + _diagram(people),
        "## What may be asked for in each state\n\n" + _allowed(),
    )
    return "\n".join(parts)


def _table(rows: Iterable[Row]) -> str:
    lines = [
        "| operation | from | to | inverse | fidelity | lost | verdict |",
        "|---|---|---|---|---|---|---|",
    ]
    for row in rows:
        cells = (
            f"`{row.op}`", ", ".join(row.sources), ", ".join(row.targets), f"`{row.inverse}`",
            str(row.fidelity), row.loss or "", "yes" if row.creates_process else "",
        )
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def _diagram(rows: Iterable[Row]) -> str:
    """A mermaid state diagram; operations with the same ends share an arrow."""
    arrows: dict[tuple[State, State], list[str]] = {}
    for row in rows:
        for source in row.sources:
            for target in row.targets:
                arrows.setdefault((source, target), []).append(str(row.op))
    lines = [f"    {source} --> {target}: {', '.join(ops)}" for (source, target), ops in arrows.items()]
    return "\n".join(("```mermaid", "stateDiagram-v2", f"    [*] --> {State.IMAGE_ONLY}", *lines, "```\n"))


def _allowed() -> str:
    lines = ["| state | operations |", "|---|---|"]
    lines += [f"| {state} | {', '.join(f'`{op}`' for op in allowed(state)) or 'none'} |" for state in State]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    PAGE.write_text(text(), encoding="utf-8")
