"""Vörðr against its peers, all in one run on one machine: medians, ratios, and where our time goes.

    python benchmarks/run.py [--all] [--only SECTION,…] [--runs N] [--json FILE] [--record]

Rounds are interleaved, so that a noisy minute hits everybody. A command's figure is the whole of it, from the
fork of the client to its end; beside it the processor time of that client alone, which noise hardly touches.
Needs root.
"""

from __future__ import annotations

import argparse
import compileall
import json
import os
import signal
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

HERE = Path(__file__).resolve().parent
HISTORY = HERE / "history.jsonl"

# A client that has to compile itself at every call takes twice its time: nobody's installation does.
compileall.compile_dir(HERE.parent / "vordr", quiet=2)

import commands  # noqa: E402 - after what it imports was compiled
import crowd  # noqa: E402
import inside  # noqa: E402
import journal  # noqa: E402
import memory  # noqa: E402
import parallel  # noqa: E402
import record  # noqa: E402
import records  # noqa: E402
import verification  # noqa: E402
from figures import Figure, table  # noqa: E402
from host import Host  # noqa: E402

Section = Callable[[Host, int], Sequence[Figure]]


def _history(host: Host, count: int, *, audit: bool, start: bool) -> list[Figure]:
    """Both look at the same long journal, which takes minutes to make."""
    long = records.build(host.folder, count, records.STANDING)
    found: list[Figure] = []
    if audit:
        found += records.audit(long)
        found += records.replay(records.build(host.folder, records.FEW, 1))
    if start:
        found += records.start(host, {
            "empty": records.build(host.folder, 0, 0),
            f"{records.STANDING} containers": records.build(host.folder, 0, records.STANDING),
            f"{count / 1000:.0f}k records, {records.STANDING} containers": long})
    return found


def sections(asked: argparse.Namespace) -> dict[str, Section]:
    """Title → what measures it, in the order in which they run."""
    only = set(asked.only.split(",")) if asked.only else set(_TITLES)
    if unknown := only - set(_TITLES):
        raise SystemExit(f"no section {', '.join(unknown)}; there are {', '.join(_TITLES)}")
    count = records.MILLION if asked.all else records.FEW
    wanted: dict[str, Section] = {name: _SECTIONS[name] for name in _SECTIONS if name in only}
    if long := only & {"audit", "start"}:
        wanted["+".join(sorted(long))] = lambda host, runs: _history(
            host, count, audit="audit" in only, start="start" in only)
    return wanted


_SECTIONS: dict[str, Section] = {
    "journal": journal.measure,
    "commands": commands.measure,
    "parallel": parallel.measure,
    "inside": inside.measure,
    "memory": memory.measure,
    "crowd": crowd.measure,
    "verify": verification.measure,
}
_TITLES = {
    "journal": "durable appends, µs a record",
    "commands": "whole commands",
    "parallel": "many at once",
    "inside": "inside the engine, one run --rm",
    "memory": "memory of the service",
    "crowd": "beside running containers",
    "verify": "verification",
    "audit": "a long history, processor time",
    "start": "start of the service",
}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=15, help="rounds of the whole commands")
    parser.add_argument("--only", metavar="SECTION,…", help=f"of {', '.join(_TITLES)}")
    parser.add_argument("--all", action="store_true", help="a history of 10⁶ records instead of 5·10⁴")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures there")
    parser.add_argument("--record", action="store_true", help=f"append them to {HISTORY.name}")
    asked = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("told to end"))  # but not without taking all away
    folder = Path(tempfile.mkdtemp(prefix="vordr-bench-"))
    folder.chmod(0o711)
    wanted = sections(asked)
    found: dict[str, Sequence[Figure]] = {}
    host = Host(folder)
    try:
        if set(wanted) & {"commands", "parallel", "memory", "crowd", "verify"}:
            host.prepare()
        for name, measure in wanted.items():
            found[name] = measure(host, asked.runs)
            print(table(_TITLES[name.partition("+")[0]], found[name]), end="\n\n", flush=True)
    finally:
        host.close()
    _keep(record.entry(found), asked)


def _keep(entry: dict[str, object], asked: argparse.Namespace) -> None:
    before = record.last(HISTORY, str(entry["cpu"]))
    if before is not None:
        print(f"ratios changed since {before['date']} ({before['commit']}):")
        print("\n".join(record.changes(before, entry)) or f"none by more than {record.CHANGED:.0%}")
    if asked.json:
        asked.json.write_text(json.dumps(entry, indent=1) + "\n")
    if asked.record:
        record.append(HISTORY, entry)
        owner = HERE.stat()
        os.chown(HISTORY, owner.st_uid, owner.st_gid)


if __name__ == "__main__":
    sys.exit(main())
