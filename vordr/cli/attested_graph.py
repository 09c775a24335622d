"""The graph of who attested what, as text in graphviz's language DOT. Pure.

Image, bundle, attestations, the keys that signed, the logs that prove them, and the evidence that the policy
demands beside. What holds is drawn in full, what is only claimed is dashed.

Names are of others' making: nodes are numbered, never named after anything, and every text is a quoted
string in which neither DOT's escapes nor its entities are left (https://graphviz.org/doc/info/lang.html).
No attribute that leads out of the picture (href, image, URL) is ever written.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Final

from vordr.cli.units import printable, shortened
from vordr.model.answers import VerifyAnswer
from vordr.model.attested import Attestation, Attested, Demanded, LogProof, Signer

_LONGEST: Final = 72
"""Characters of one line of a label."""
_HOLDS: Final = "#1a7f37"
_CLAIMED: Final = "#6e7781"
_REFUSED: Final = "#cf222e"


def dot(answer: VerifyAnswer, image: str) -> str:
    """The graph of an answer that was asked to tell who attested what, as DOT; ``image`` is what the reader
    calls it."""
    return "\n".join(_Drawing().lines(answer, image)) + "\n"


def quoted(*lines: str) -> str:
    """A quoted string of DOT that shows these lines, one below the other, as they are."""
    return '"' + "\\n".join(map(_escaped, lines)) + '"'


def _escaped(line: str) -> str:
    plain = shortened(printable(line), _LONGEST).encode(errors="replace").decode()
    # The backslash first: those that are put in below are DOT's own.
    for character, instead in (("\\", "\\\\"), ('"', '\\"'), ("&", "&amp;")):
        plain = plain.replace(character, instead)
    return plain


class _Drawing:
    """Writes nodes and edges; one node for each key and each log, however often it is met."""

    def __init__(self) -> None:
        self._nodes: dict[tuple[str, str], str] = {}

    def lines(self, answer: VerifyAnswer, image: str) -> Iterator[str]:
        found = answer.attested or Attested(manifest=answer.manifest or "", bundle=None)
        yield "digraph attested {"
        yield "  rankdir=LR;"
        yield '  node [fontname="sans-serif", fontsize=11, shape=box, style=rounded];'
        yield '  edge [fontname="sans-serif", fontsize=9];'
        yield from self._node("image", "", "box3d", _CLAIMED, (image, answer.manifest or "no manifest"))
        yield from self._decision(answer)
        if found.bundle is not None:
            whole = answer.code is None
            yield from self._node("bundle", "", "folder", _HOLDS if whole else _CLAIMED,
                                  ("attestation bundle", found.bundle))
            yield self._edge("image", "", "bundle", "", holds=whole, text="attested in")
        for number, one in enumerate(found.attestations):
            yield from self._attestation(str(number), one)
        for proof in found.unproved:
            yield from self._log("bundle", "", proof)
        for number, demanded in enumerate(found.demanded):
            yield from self._demanded(str(number), demanded)
        yield "}"

    def _decision(self, answer: VerifyAnswer) -> Iterator[str]:
        refused = answer.code is not None
        words = [answer.decision if answer.mode == "strict" else f"{answer.decision} ({answer.mode})"]
        words += [f"{answer.code}: {answer.message}"] if refused else [answer.attested_by or ""]
        yield from self._node("decision", "", "note", _REFUSED if refused else _HOLDS, words)
        yield self._edge("decision", "", "image", "", holds=not refused)

    def _attestation(self, name: str, one: Attestation) -> Iterator[str]:
        holds = bool(one.signers) and all(signer.holds for signer in one.signers) and any(
            proof.holds for proof in one.logs)
        yield from self._node(
            "attestation", name, "note", _HOLDS if holds else _CLAIMED, (one.name, one.predicate, one.digest))
        yield self._edge("bundle", "", "attestation", name, holds=holds)
        for signer in one.signers:
            yield from self._key(name, signer)
        for proof in one.logs:
            yield from self._log("attestation", name, proof)

    def _key(self, attestation: str, signer: Signer) -> Iterator[str]:
        words = [signer.owner or "a key that is not in the trust store", signer.key,
                 *(f"role {role}" for role in signer.roles), *(f"group {group}" for group in signer.groups)]
        yield from self._node("key", signer.key, "ellipse", _HOLDS if signer.roles else _CLAIMED, words)
        yield self._edge("attestation", attestation, "key", signer.key, holds=signer.holds,
                         text="signed by" if signer.holds else "claims the signature of")

    def _log(self, kind: str, name: str, proof: LogProof) -> Iterator[str]:
        operator = f"operator {proof.operator}" if proof.operator else "not in the trust store"
        yield from self._node("log", proof.log, "cylinder", _HOLDS if proof.operator else _CLAIMED,
                              (f"log {proof.log}", operator))
        yield self._edge(
            kind, name, "log", proof.log, holds=proof.holds,
            text=(f"entry {proof.index}", f"checkpoint {proof.size}, {proof.root[:16]}…", proof.time))

    def _demanded(self, name: str, demanded: Demanded) -> Iterator[str]:
        yield from self._node(
            "demand", name, "component", _HOLDS if demanded.holds else _REFUSED,
            (f"policy: scope {demanded.scope}, {demanded.demand}", demanded.text))
        yield self._edge("image", "", "demand", name, holds=demanded.holds, text="demanded beside the bundle")
        for key in demanded.keys:
            yield from self._node("pinned", key, "ellipse", _HOLDS, ("a key that the policy pins", key))
            yield self._edge("demand", name, "pinned", key, holds=True, text="signed by")

    # -- DOT ---------------------------------------------------------------------------------------

    def _node(self, kind: str, name: str, shape: str, colour: str, words: Iterable[str]) -> Iterator[str]:
        """The node, unless it is there already."""
        if (kind, name) not in self._nodes:
            ident = self._nodes[kind, name] = f"n{len(self._nodes)}"
            label = quoted(*(word for word in words if word))
            yield f'  {ident} [label={label}, shape={shape}, color="{colour}"];'

    def _edge(
        self, kind: str, name: str, to_kind: str, to_name: str, *, holds: bool,
        text: str | tuple[str, ...] = (),
    ) -> str:
        lines = (text,) if isinstance(text, str) else text
        style = "solid" if holds else "dashed"
        colour = _HOLDS if holds else _CLAIMED
        ends = f"{self._nodes[kind, name]} -> {self._nodes[to_kind, to_name]}"
        return f'  {ends} [label={quoted(*lines)}, style={style}, color="{colour}"];'
