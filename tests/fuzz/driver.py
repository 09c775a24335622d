"""Runs one harness under libFuzzer: ``python tests/fuzz/driver.py NAME [CORPUS] [-runs=N …]``. ``--list``
says which there are.

The corpus folder is made where it is missing, and the seeds are put into it; without one they are kept in a
temporary folder. Options are libFuzzer's own. An input that breaks a harness ends the process with its
traceback, and is written where -artifact_prefix says.
"""

from __future__ import annotations

import random
import sys
import tempfile
from pathlib import Path

import atheris

TESTS = Path(__file__).resolve().parents[1]
# The worlds of the attack tests and of the image tests, which pytest would find by itself.
sys.path[:0] = [str(TESTS), str(TESTS / "attack")]

with atheris.instrument_imports(include=["vordr.formats", "vordr.gatekeeper", "vordr.images", "tomllib"]):
    from harnesses import HARNESSES, Harness


def main(arguments: list[str]) -> None:
    """Fuzzes until the options say that it is enough; ends the process."""
    name, *rest = arguments
    if name == "--list":
        print("\n".join(HARNESSES))
        return
    harness = HARNESSES[name]

    def one_input(data: bytes) -> None:
        harness.run(data)

    options = [one for one in rest if one.startswith("-")]
    folders = [Path(one) for one in rest if not one.startswith("-")]
    with tempfile.TemporaryDirectory() as temporary:
        corpus = folders[0] if folders else Path(temporary)
        corpus.mkdir(parents=True, exist_ok=True)
        for number, seed in enumerate(harness.seeds()):
            (corpus / f"seed-{number}").write_bytes(seed)
        # One mutation of one input: several upon each other are refused by the first check there is.
        bounds = [f"-max_len={harness.longest}", "-timeout=20", "-rss_limit_mb=1024", "-mutate_depth=1"]
        atheris.Setup(
            [sys.argv[0], *bounds, *options, str(corpus)], one_input, custom_mutator=_mutator(harness))
        atheris.Fuzz()


def _mutator(harness: Harness):  # type: ignore[no-untyped-def]  # atheris has no types
    seeds = list(harness.seeds())

    def mutate(data: bytes, most: int, seed: int) -> bytes:
        chance = random.Random(seed)
        # Most of what a fuzzer keeps is refused in some new way: it begins again from what is accepted, too.
        begin = chance.choice(seeds) if chance.random() < 0.4 else data
        return harness.mutate(begin, most, chance, atheris.Mutate)

    return mutate


if __name__ == "__main__":
    main(sys.argv[1:])
