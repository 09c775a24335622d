"""Reading Go's text/template (https://pkg.go.dev/text/template) into nodes. Pure.

Which part of it is read is said in :mod:`vordr.cli.gotemplate`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Final

from vordr.model.errors import UsageError

_QUOTED: Final = r'"(?:\\.|[^"\\])*"|`[^`]*`'
_ACTION: Final = re.compile(
    r"\{\{(?P<left>-\s)?(?P<body>(?:" + _QUOTED + r'|[^`"])*?)(?P<right>\s-)?\}\}', re.DOTALL)
_TOKEN: Final = re.compile(
    r"""\s*(?:(?P<string>"(?:\\.|[^"\\])*"|`[^`]*`)|(?P<number>-?\d+)|(?P<path>\$?\w*(?:\.\w+)+|\$\w*|\.)"""
    r"""|(?P<word>\w+)|(?P<mark>:=|=|[|(),]))"""
)


def bad(message: str) -> UsageError:
    return UsageError(
        f"template: {message}", remedy="such as --format '{{.ID}}\\t{{.Names}}', or --format json")


@dataclass(frozen=True)
class Text:
    text: str


@dataclass(frozen=True)
class Path:
    """``$name.A.B``; ``variable`` None starts at the dot."""

    variable: str | None
    names: tuple[str, ...]


@dataclass(frozen=True)
class Literal:
    value: Any


@dataclass(frozen=True)
class Call:
    """One command: its head and its arguments."""

    words: tuple[Operand, ...]


@dataclass(frozen=True)
class Word:
    name: str


@dataclass(frozen=True)
class Pipe:
    """Commands, each given the result of the one before as its last argument; assigned to ``names``."""

    calls: tuple[Call, ...]
    names: tuple[str, ...] = ()


Operand = Path | Literal | Word | Pipe


@dataclass
class Block:
    """``if``, ``range``, ``with`` or the whole template (kind ``""``)."""

    kind: str
    pipe: Pipe | None = None
    body: list[Node] = field(default_factory=list)
    otherwise: list[Node] = field(default_factory=list)
    in_else: bool = False
    chained: bool = False

    def add(self, node: Node) -> None:
        (self.otherwise if self.in_else else self.body).append(node)


Node = Text | Pipe | Block


class Tokens:
    def __init__(self, body: str) -> None:
        self.items: list[tuple[str, str]] = []
        at = 0
        body = body.strip()
        while at < len(body):
            match = _TOKEN.match(body, at)
            if match is None or match.lastgroup is None:
                raise bad(f"cannot read {body[at:at + 20]!r}")
            self.items.append((match.lastgroup, match[match.lastgroup]))
            at = match.end()
        self.at = 0

    def peek(self) -> tuple[str, str]:
        return self.items[self.at] if self.at < len(self.items) else ("end", "")

    def next(self) -> tuple[str, str]:
        token = self.peek()
        self.at += 1
        return token


def _parse_pipe(tokens: Tokens, *, nested: bool = False) -> Pipe:
    names = _parse_names(tokens)
    calls: list[Call] = []
    words: list[Operand] = []
    while True:
        kind, text = tokens.next()
        if kind == "mark" and text == "(":
            words.append(_parse_pipe(tokens, nested=True))
            continue
        closes = (kind == "mark" and text == ")" and nested) or (kind == "end" and not nested)
        if closes or (kind == "mark" and text == "|"):
            if not words:
                raise bad("a command is missing")
            calls.append(Call(tuple(words)))
            words = []
            if closes:
                return Pipe(tuple(calls), names)
            continue
        words.append(_operand(kind, text))


def _parse_names(tokens: Tokens) -> tuple[str, ...]:
    """The variables before ``:=``, if there are any."""
    start, names = tokens.at, []
    while True:
        kind, text = tokens.next()
        if kind != "path" or not re.fullmatch(r"\$\w+", text):
            break
        names.append(text)
        kind, text = tokens.next()
        if kind == "mark" and text in {":=", "="}:
            return tuple(names)
        if (kind, text) != ("mark", ","):
            break
    tokens.at = start
    return ()


def _operand(kind: str, text: str) -> Operand:
    match kind:
        case "string":
            return Literal(text[1:-1] if text[0] == "`" else json.loads(text, strict=False))
        case "number":
            return Literal(int(text))
        case "path":
            head, *names = text.split(".")
            return Path(head or None, tuple(name for name in names if name))
        case "word":
            constants = {"true": True, "false": False, "nil": None}
            return Literal(constants[text]) if text in constants else Word(text)
        case _:
            raise bad(f"unexpected {text or 'end'!r}")


def _pieces(source: str) -> Iterator[tuple[str, str]]:
    """Texts and action bodies in turn, blanks trimmed where dashes say so."""
    at, trim = 0, False
    for match in _ACTION.finditer(source):
        text = source[at:match.start()]
        text = text.lstrip() if trim else text
        yield "text", text.rstrip() if match["left"] else text
        yield "action", match["body"].strip()
        at, trim = match.end(), bool(match["right"])
    rest = source[at:]
    if "{{" in rest:
        raise bad("an action is not closed with }}")
    yield "text", rest.lstrip() if trim else rest


def parse(source: str) -> Block:
    stack = [Block("")]
    for kind, text in _pieces(source):
        if kind == "text":
            if text:
                stack[-1].add(Text(text))
            continue
        word, _, rest = text.partition(" ")
        if text.startswith("/*"):
            continue
        if word in {"if", "range", "with"}:
            block = Block(word, _parse_pipe(Tokens(rest)))
            stack[-1].add(block)
            stack.append(block)
        elif word == "else":
            _open_else(stack, rest.strip())
        elif text == "end":
            _close(stack)
        else:
            stack[-1].add(_parse_pipe(Tokens(text)))
    if len(stack) != 1:
        raise bad(f"{stack[-1].kind} without end")
    return stack[0]


def _open_else(stack: list[Block], rest: str) -> None:
    block = stack[-1]
    if not block.kind or block.in_else:
        raise bad("else without if")
    block.in_else = True
    if rest:
        word, _, condition = rest.partition(" ")
        if word != "if":
            raise bad(f"unexpected {word!r} after else")
        inner = Block("if", _parse_pipe(Tokens(condition)), chained=True)
        block.add(inner)
        stack.append(inner)


def _close(stack: list[Block]) -> None:
    if len(stack) == 1:
        raise bad("end without if, range or with")
    while stack.pop().chained:
        continue
