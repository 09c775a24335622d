"""A verdict is made by the gatekeeper's decision alone, cannot be changed, and is recorded whole."""

from __future__ import annotations

import copy
import dataclasses
from typing import Any, get_args, get_type_hints

import pytest

from vordr.formats import canonical
from vordr.model.progress import Progress, silent
from vordr.model.verdict import Evidence, Verdict

FIELDS: dict[str, Any] = {
    "manifest": "sha256:m", "config": "sha256:c",
    "layers": (("sha256:b1", "sha256:d1"), ("sha256:b2", "sha256:d2")),
    "bundle": "sha256:a", "trust": "sha256:t", "policy": "sha256:p", "epoch": 7, "origin": "adopted",
    "attested_by": "the operator", "keys": ("k1", "k2"), "logs": ("l1", "l2"),
    "evidence": (Evidence(1, "digest", "it is"), Evidence(5, "signatures", "hold", ("k1",), ("l1", "l2"))),
    "decided": 1_790_000_000_000_000, "expires": 1_790_000_003_600_000,
}
RECORD: dict[str, Any] = FIELDS | {
    "layers": [["sha256:b1", "sha256:d1"], ["sha256:b2", "sha256:d2"]], "keys": ["k1", "k2"],
    "logs": ["l1", "l2"], "evidence": [
        {"step": 1, "name": "digest", "text": "it is", "keys": [], "logs": []},
        {"step": 5, "name": "signatures", "text": "hold", "keys": ["k1"], "logs": ["l1", "l2"]}]}


def test_nobody_makes_a_verdict_by_its_constructor() -> None:
    for given in ((), tuple(FIELDS.values())):
        with pytest.raises(TypeError, match=r"^Verdict comes from gatekeeper\.decide alone$"):
            Verdict(*given)
    with pytest.raises(TypeError, match="Verdict comes from"):
        Verdict(**FIELDS)
    with pytest.raises(TypeError, match="Verdict comes from"):
        dataclasses.replace(Verdict._issue(**FIELDS), expires=2**52)


def test_the_gatekeepers_door_makes_one_of_all_its_fields_and_of_nothing_less() -> None:
    verdict = Verdict._issue(**FIELDS)
    assert isinstance(verdict, Verdict)
    assert {field.name: getattr(verdict, field.name) for field in dataclasses.fields(verdict)} == FIELDS
    for name in FIELDS:
        with pytest.raises(TypeError, match=name):
            Verdict._issue(**{key: value for key, value in FIELDS.items() if key != name})


@pytest.mark.parametrize("name", FIELDS)
def test_a_verdict_cannot_be_changed(name: str) -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        setattr(Verdict._issue(**FIELDS), name, None)


def test_its_record_is_the_whole_verdict_as_the_journal_can_hold_it() -> None:
    record = Verdict._issue(**FIELDS).to_record()
    assert record == RECORD
    assert canonical.loads(canonical.dumps(record)) == RECORD
    assert [type(value) for value in record.values()] == [type(value) for value in RECORD.values()]


def test_a_record_shares_nothing_with_its_verdict() -> None:
    verdict = Verdict._issue(**FIELDS)
    record = verdict.to_record()
    before = copy.deepcopy(record)
    record["layers"][0][0] = record["evidence"][0]["name"] = "changed"
    record["keys"].clear()
    assert verdict.to_record() == before


def test_evidence_cannot_be_changed_and_has_neither_keys_nor_logs_where_none_are_said() -> None:
    evidence = Evidence(1, "digest", "it is")
    assert (evidence.keys, evidence.logs) == ((), ())
    with pytest.raises(dataclasses.FrozenInstanceError):
        evidence.text = ""  # type: ignore[misc]  # refused, and that is what is tested


def test_progress_that_nobody_listens_to_is_taken_all_the_same() -> None:
    silent("packing", 1, None)
    silent("packing", 2, 3)
    *told, _ = get_type_hints(silent).values()
    assert get_args(Progress) == (told, None)
