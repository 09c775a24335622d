"""The graph of who attested what: whatever names say, it is the graph that was meant, and shows them."""

from __future__ import annotations

import html
import re
from dataclasses import replace

import msgspec
import pytest
from attested_world import (
    ADA,
    LOGS,
    NOW,
    REFUSALS,
    SUBJECT,
    TRUST,
    Case,
    cosign,
    key,
    scope,
    spoilt,
    with_key,
)
from hypothesis import given
from hypothesis import strategies as st

from vordr.cli.attested_graph import dot, quoted
from vordr.cli.units import printable
from vordr.engine.handlers.verifying import _verify_answer
from vordr.formats.times import format_rfc3339
from vordr.gatekeeper.cures import Target
from vordr.gatekeeper.decide import Mode
from vordr.gatekeeper.policy import Policy
from vordr.gatekeeper.trust import UPDATERS, Group
from vordr.model.answers import VerifyAnswer
from vordr.model.attested import Attested, Demanded

HOSTILE = ('a"b', "back\\slash", "end\\", 'x"];evil -> n0;"', "two\nlines", "<b>bold</b>", "<<table>>", "\\N",
           "&quot;", "&#34;", "{a|b}", "\x1b[31m", "\u202eright", "\udc80", "", "ü ✓", "]; } digraph x {")
IN_DOCUMENTS = [name for name in HOSTILE if "\udc80" not in name]
"""No JSON that is read here holds half a character."""
STRING = re.compile(r'"((?:[^"\\\n]|\\.)*)"')
LINE = re.compile(
    r"digraph attested \{|\}|  rankdir=LR;|"
    r"  (?:node|edge) \[fontname=S, fontsize=\d+(?:, shape=box, style=rounded)?\];|"
    r"  n\d+ \[label=S, shape=\w+, color=S\];|"
    r"  n\d+ -> n\d+ \[label=S, style=(?:solid|dashed), color=S\];")
NODE = re.compile(r'^  (n\d+) \[label=("(?:[^"\\]|\\.)*")', re.MULTILINE)
EDGE = re.compile(r'^  (n\d+) -> (n\d+) \[label=("(?:[^"\\]|\\.)*"), style=(\w+)', re.MULTILINE)


def shown(string: str) -> list[str]:
    """The lines that graphviz shows for a quoted string: its escapes and entities resolved."""
    found = STRING.fullmatch(string)
    assert found is not None
    lines = re.sub(r"\\(.)", lambda m: "\n" if m[1] == "n" else m[1], found[1]).split("\n")
    return [html.unescape(line) for line in lines]


def answer(case: Case, mode: Mode = Mode.STRICT) -> VerifyAnswer:
    target = Target("web", manifest=case.subject.manifest)
    return _verify_answer(case.report(mode), target, graph=True)


class Picture:
    """A graph read back: labels by node, and edges as (from, to, label, style) of labels' first lines."""

    def __init__(self, text: str) -> None:
        bare = STRING.sub("S", text)
        for line in bare.splitlines():
            assert LINE.fullmatch(line), line
        self.nodes = {name: shown(label) for name, label in NODE.findall(text)}
        self.edges = [(self.nodes[a][0], self.nodes[b][0], shown(label), style)
                      for a, b, label, style in EDGE.findall(text)]
        assert len(self.nodes) + len(self.edges) + 5 == len(bare.splitlines())

    def of(self, word: str) -> list[str]:
        """The label of the one node that begins so."""
        (found,) = (label for label in self.nodes.values() if label[0].startswith(word))
        return found

    def edge(self, start: str, end: str) -> list[tuple[list[str], str]]:
        return [(label, style) for a, b, label, style in self.edges
                if a.startswith(start) and b.startswith(end)]


def picture(case: Case, image: str = "web") -> Picture:
    return Picture(dot(answer(case), image))


def test_image_bundle_attestations_keys_and_logs_hang_together() -> None:
    drawn = picture(Case())
    assert drawn.of("web")[1] == SUBJECT.manifest
    assert drawn.of("ALLOW")[1].startswith("adopted by Ada")
    assert drawn.edge("web", "attestation bundle") == [(["attested in"], "solid")]
    names = [label[0] for label in drawn.nodes.values() if "https://" in (label[1:] or [""])[0]]
    assert sorted(names) == ["SLSA provenance v1", "SPDX document"]
    for name in names:
        assert drawn.edge("attestation bundle", name) == [([""], "solid")]
        assert drawn.edge(name, "Ada") == [(["signed by"], "solid")]
        for log in LOGS[:2]:
            ((label, style),) = drawn.edge(name, f"log {log}")
            assert style == "solid"
            assert re.fullmatch(r"entry \d+", label[0])
            assert re.fullmatch(r"checkpoint \d+, [0-9a-f]{16}…", label[1])


def test_a_key_is_one_node_that_tells_its_role_and_group() -> None:
    assert picture(Case()).of("Ada")[1:] == [ADA.id, "role adopters", "group adopters (1 of 2)"]


def test_a_log_is_one_node_that_tells_its_operator() -> None:
    drawn = picture(Case())
    assert drawn.of("log log-a")[1] == "operator Ada"
    assert not any(label[0] == "log log-c" for label in drawn.nodes.values())


@pytest.mark.parametrize("wrong", REFUSALS)
def test_a_refused_image_is_drawn_with_its_code_and_nothing_that_was_not_checked_holds(wrong: str) -> None:
    code, make = REFUSALS[wrong]
    drawn = picture(make())
    assert drawn.of("REJECT")[1].startswith(f"{code}: ")
    assert all(style == "dashed" for _, style in drawn.edge("web", "attestation bundle"))


def test_a_signature_that_does_not_hold_is_only_claimed() -> None:
    drawn = picture(REFUSALS["signature changed"][1]())
    first, second = (drawn.edge(name, "Ada") for name in ("SLSA", "SPDX"))
    assert [style for _, style in (*first, *second)] == ["dashed", "dashed"]
    assert all(style == "dashed" for _, _, _, style in drawn.edges if style != "solid")


def test_signatures_that_held_before_another_step_refused_are_drawn_as_held() -> None:
    drawn = picture(REFUSALS["timestamp changed"][1]())
    assert drawn.edge("SLSA", "Ada") == [(["signed by"], "solid")]
    assert [style for _, style in drawn.edge("attestation bundle", "log log-a")] == ["dashed", "dashed"]


def test_a_proof_of_a_log_that_contradicts_itself_is_only_claimed() -> None:
    drawn = picture(REFUSALS["log of two minds"][1]())
    assert {style for _, style in drawn.edge("SLSA", "log log-a")} == {"dashed"}
    assert {style for _, style in drawn.edge("SLSA", "log log-b")} == {"solid"}


def test_the_group_of_updaters_vouches_for_no_image_and_is_not_drawn() -> None:
    groups = (*TRUST.groups, Group(UPDATERS, 1, (ADA.id,)))
    drawn = picture(Case(trust=replace(TRUST, groups=groups)))
    assert drawn.of("Ada")[1:] == [ADA.id, "role adopters", "group adopters (1 of 2)"]


def test_a_key_that_is_not_trusted_is_told_so() -> None:
    drawn = picture(REFUSALS["key nobody knows"][1]())
    assert drawn.of("a key that is not in the trust store")[1] == ADA.id


def test_evidence_that_the_policy_demands_is_drawn_and_what_it_does_not_demand_is_not() -> None:
    drawn = picture(Case(policy=scope(cosign("carl"))))
    assert drawn.of("policy: scope prod, cosign[0]")[1].startswith("cosign signature: 0 of 1 pinned keys")
    assert drawn.edge("web", "policy:") == [(["demanded beside the bundle"], "dashed")]
    assert not any(label[0].startswith("policy:") for label in picture(Case(policy=Policy())).nodes.values())
    other = picture(Case(policy=scope(f'signers = ["{ADA.id}"]')))
    assert not any(label[0].startswith("policy:") for label in other.nodes.values())


def test_pinned_keys_that_gave_evidence_are_drawn() -> None:
    pinned = key("carl").public.key_id
    told = answer(Case())
    assert told.attested is not None
    told = msgspec.structs.replace(told, attested=msgspec.structs.replace(told.attested, demanded=(
        Demanded(scope="prod", demand="cosign[0]", holds=True, text="1 of 1", keys=(pinned,)),)))
    drawn = Picture(dot(told, "web"))
    assert drawn.edge("policy: scope prod", "a key that the policy pins") == [(["signed by"], "solid")]
    assert drawn.of("a key that the policy pins")[1] == pinned


@pytest.mark.parametrize("mode", [Mode.PERMISSIVE, Mode.AUDIT])
def test_a_mode_that_only_reports_is_told_with_what_strict_refuses(mode: Mode) -> None:
    told = answer(REFUSALS["key expired"][1](), mode)
    assert Picture(dot(told, "web")).of(f"ALLOW ({mode})")[1].startswith("EXPIRED_KEY: ")


def test_what_has_no_bundle_is_drawn_alone() -> None:
    drawn = picture(REFUSALS["no bundle"][1]())
    assert sorted(label[0] for label in drawn.nodes.values()) == ["REJECT", "web"]
    nothing = VerifyAnswer(decision="REJECT", manifest=None, mode="strict", code="X", message="y")
    assert Picture(dot(nothing, "web")).of("web")[1] == "no manifest"


# -- hostile names ---------------------------------------------------------------------------------


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_image_name_is_shown_and_changes_nothing(name: str) -> None:
    plain, drawn = picture(Case()), picture(Case(), name)
    assert len(drawn.nodes) == len(plain.nodes) and len(drawn.edges) == len(plain.edges)
    wanted = printable(name).encode(errors="replace").decode() or SUBJECT.manifest
    assert drawn.nodes["n0"][0] == wanted


@pytest.mark.parametrize("name", IN_DOCUMENTS)
def test_hostile_names_of_keys_and_logs_are_shown_and_change_nothing(name: str) -> None:
    logs = (replace(TRUST.logs[0], operator=name), *TRUST.logs[1:])
    drawn = picture(Case(trust=replace(with_key(owner=name), logs=logs)))
    assert len(drawn.nodes) == len(picture(Case()).nodes)
    wanted = printable(name)
    assert drawn.of(wanted or "a key that is not")[1] == ADA.id
    assert drawn.of("log log-a")[1] == (f"operator {wanted}" if name else "not in the trust store")


@pytest.mark.parametrize("name", [name for name in IN_DOCUMENTS if name])
def test_a_hostile_log_id_of_a_bundle_is_shown_and_changes_nothing(name: str) -> None:
    def rename(document: dict[str, list[dict[str, str]]]) -> None:
        document["logEntries"][0]["logId"] = name

    drawn = picture(Case(spoilt(rename)))
    assert drawn.of(f"log {printable(name)}"[:60])[1] == "not in the trust store"


@given(st.lists(st.text(max_size=60), min_size=1, max_size=3))
def test_any_text_comes_out_as_it_went_in(lines: list[str]) -> None:
    wanted = [printable(line).encode(errors="replace").decode() for line in lines]
    assert shown(quoted(*lines)) == [line if len(line) <= 72 else line[:71] + "…" for line in wanted]


def test_a_label_is_never_longer_than_a_line() -> None:
    assert len(shown(quoted("x" * 10_000))[0]) == 72


def test_no_attribute_leads_out_of_the_picture() -> None:
    text = STRING.sub("S", dot(answer(Case()), "web"))
    assert not re.search(r"href|URL|image|src|fontpath|layers|postaction|label=<", text)


def test_two_answers_that_are_the_same_are_drawn_the_same() -> None:
    assert dot(answer(Case()), "web") == dot(answer(Case()), "web")


def test_the_answer_survives_the_socket() -> None:
    told = answer(Case())
    assert isinstance(told.attested, Attested)
    assert msgspec.convert(msgspec.to_builtins(told), VerifyAnswer) == told


def test_time_is_that_of_the_log() -> None:
    assert picture(Case()).edge("SLSA", "log log-a")[0][0][2] == format_rfc3339(NOW)


