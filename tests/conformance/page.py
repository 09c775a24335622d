"""docs/conformance.md, made from the published profiles and vectors and from what the scenes observed.

A requirement is *held* when what was observed is what its profile expects, and a *deviation* when it is not;
:data:`REASONS` must explain exactly the deviations, :data:`NOTES` may comment on what is held.

    python tests/conformance/page.py      # write the page anew
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

from bench import Bench, spec
from published import published_spec, spec_document
from scenes import SCENES, Observed, Requirement

ROOT: Final = Path(__file__).resolve().parents[2]
PAGE: Final = ROOT / "docs" / "conformance.md"
FRAME: Final = Path(__file__).with_name("frame.md")
PROFILES: Final = ("consumer", "producer", "mvp-consumer", "mvp-producer")

_BAD_HASHES: Final = "the vector breaks the published schema: hashes of 65 digits, or not hexadecimal"
_ONE_LOG: Final = (
    "one log is not enough: schema and spec want two, and so do we, always; the vector also has a hash of 65 "
    "digits"
)

REASONS: Final[Mapping[str, str]] = {
    "CONS-B-001": _BAD_HASHES,
    "MVP-CONS-B-001": _BAD_HASHES,
    "CONS-M-003": "the published proof cannot hold: its hashes are none, and no leaf is given with it",
    "MVP-CONS-B-003": _ONE_LOG,
    "MVP-PROD-B-001": _ONE_LOG,
    "PROD-B-001": f"{_BAD_HASHES}; and its one attestation is no SBOM",
    "PROD-M-002": "not there: the logs written to are the producer's own, and one that fails, fails the act",
    "PROD-F-001": "k of n members sign each for themselves; "
                  "[decision 0031](decisions/0031-member-signatures-are-counted.md)",
    "PROD-F-002": "not there: a bundle is handed on in a .ctp or as a file",
}
"""Of every deviation, why; of nothing else."""

SHOWN_BY: Final[Mapping[str, str]] = {
    "CONS-F-008": "test_an_image_whose_bundle_refers_to_it_starts_after_a_pull",
    "PROD-F-003": "test_an_update_that_its_threshold_signed_is_taken",
}
"""Of requirements that no command of the contract can show, as they need a registry or a service: the test
that shows it. Such a requirement is held when the test is there; whether it passes is its own affair."""

NOTES: Final[Mapping[str, str]] = {
    "CONS-B-003": "the shape; as a trust store it is refused (above)",
    "MVP-CONS-B-002": "the shape; as a trust store it is refused (above)",
    "CONS-M-004": "with a vector of our own: the published one is missing",
    "CONS-F-001": "by ordinary signatures of distinct public keys",
    "CONS-F-002": "by ordinary signatures of distinct public keys",
    "CONS-F-005": "trust store and policy are part of what a verdict is remembered by, and so is their epoch",
    "CONS-F-006": "a report; nothing starts by it",
    "CONS-F-007": "one line of JSON on standard error; reading is not journalled",
    "PROD-B-002": "with a statement of our own: the published one is missing",
    "MVP-PROD-B-002": "with a statement of our own: the published one is missing",
    "PROD-B-005": "with a vector of our own: the published one is missing",
    "PROD-M-004": "as far as a test of ours looks; the SPDX schema is not part of this repository",
}

VECTORS: Final[Mapping[str, str]] = {
    "valid-bundle-001": f"{_BAD_HASHES}; its subject digest has 67 digits, its predicate is empty, it has "
                        "no SPDX document, and its signatures are placeholders",
    "mvp-bundle-001": "a hash of 65 digits; and one log entry, where the schema wants two",
    "valid-trust-store-001": "its shape is valid; as a trust store it is refused: its key ids are no digests "
                             "of the keys, and one public key is the signer's and all three logs'",
}
"""Of published vectors that end otherwise here, or not by that alone, why."""


def meets(expected: Mapping[str, Any], observed: Observed) -> bool:
    """Whether all that a profile expects was observed; ``{"minimum": n}`` bounds a number."""
    def one(name: str, wanted: Any) -> bool:
        seen = observed.get(name)
        return seen >= wanted["minimum"] if isinstance(wanted, dict) else bool(seen == wanted)

    return all(one(name, wanted) for name, wanted in expected.items())


def requirements() -> Iterator[tuple[str, str, Requirement]]:
    """(profile's name, level, requirement) of all published profiles."""
    for name in PROFILES:
        profile = spec_document(f"conformance/profiles/{name}.json")
        for level, part in profile["levels"].items():
            for row in part["tests"]:
                yield profile["name"], level, row


def held(row: Requirement, folder: Path) -> bool:
    """Try one requirement on a bench of its own. What has neither a scene nor a test is not there."""
    if row["id"] in SHOWN_BY:
        return True
    scene = SCENES.get(row["id"])
    if scene is None:
        return False
    folder.mkdir()
    return meets(row.get("expected", row.get("validation", {})), scene(Bench(folder), row))


def outcomes(folder: Path) -> dict[str, bool]:
    """Id → whether it is held."""
    return {row["id"]: held(row, folder / row["id"]) for _, _, row in requirements()}


def text(results: Mapping[str, bool], folder: Path) -> str:
    """The whole page."""
    frame = FRAME.read_text(encoding="utf-8").replace("<!-- vectors -->", _vectors(folder))
    return frame.replace("<!-- profiles -->", _profiles(results))


def _profiles(results: Mapping[str, bool]) -> str:
    lines: list[str] = []
    last = ""
    for profile, level, row in requirements():
        if profile != last:
            head = "| id | level | requirement | state | |"
            lines += ["", f"### {profile}", "", head, "|---|---|---|---|---|"]
            last = profile
        name = row["id"]
        note = f"shown by `{SHOWN_BY[name]}`" if name in SHOWN_BY else NOTES.get(name, "")
        state, why = ("held", note) if results[name] else ("deviation", REASONS.get(name, "?"))
        lines.append(f"| {name} | {level} | {row['name']} | {state} | {why} |")
    count = sum(results.values())
    return f"{count} of {len(results)} are held, {len(results) - count} are deviations.\n" + "\n".join(lines)


def _vectors(folder: Path) -> str:
    lines = ["| vector | published as | `spec validate` here | |", "|---|---|---|---|"]
    for path in sorted(published_spec("vectors").rglob("*.json")):
        value = json.loads(path.read_text(encoding="utf-8"))
        input_file = folder / f"{value['id']}.json"
        input_file.write_text(json.dumps(value["input"]))
        ran = spec("validate", "--type", path.parent.name, "--input", input_file)
        said = "valid" if value["expected"]["valid"] else value["expected"].get("errorCode", "invalid")
        here = "valid" if ran.code == 0 else f"invalid: `{ran.told['errors'][0]['path']}`"
        name = f"`{value['id']}` ({path.stem})"
        lines.append(f"| {name} | {said} | {here} | {VECTORS.get(value['id'], '')} |")
    return "\n".join(lines)


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        PAGE.write_text(text(outcomes(Path(folder)), Path(folder)), encoding="utf-8")
    print(f"wrote {PAGE}")


if __name__ == "__main__":
    main()
