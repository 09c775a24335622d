"""The part of Go's text/template that ``--format`` is used with (https://pkg.go.dev/text/template).

Fields, variables, pipelines, parentheses, ``if``/``else if``/``else``, ``range``, ``with``, trimming dashes,
and docker's functions (json, join, split, upper, lower, title, truncate, println, …). Not there: nested
template definitions, ``break``, ``continue``, methods other than the callables found in the data.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Union

from vordr.model.errors import UsageError

_ACTION: Final = re.compile(r"\{\{(?P<left>-\s)?(?P<body>(?:\"(?:\\.|[^\"\\])*\"|`[^`]*`|[^`\"])*?)(?P<right>\s-)?\}\}",
                            re.DOTALL)
_TOKEN: Final = re.compile(
    r"""\s*(?:(?P<string>"(?:\\.|[^"\\])*"|`[^`]*`)|(?P<number>-?\d+)|(?P<path>\$?\w*(?:\.\w+)+|\$\w*|\.)"""
    r"""|(?P<word>\w+)|(?P<mark>:=|=|[|(),]))"""
)


def _bad(message: str) -> UsageError:
    return UsageError(
        f"template: {message}", remedy="such as --format '{{.ID}}\\t{{.Names}}', or --format json")


# -- parsing -------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Text:
    text: str


@dataclass(frozen=True)
class _Path:
    """``$name.A.B``; ``variable`` None starts at the dot."""

    variable: str | None
    names: tuple[str, ...]


@dataclass(frozen=True)
class _Literal:
    value: Any


@dataclass(frozen=True)
class _Call:
    """One command: its head and its arguments."""

    words: tuple[_Operand, ...]


@dataclass(frozen=True)
class _Word:
    name: str


@dataclass(frozen=True)
class _Pipe:
    """Commands, each given the result of the one before as its last argument; assigned to ``names``."""

    calls: tuple[_Call, ...]
    names: tuple[str, ...] = ()


_Operand = Union[_Path, _Literal, _Word, _Pipe]


@dataclass
class _Block:
    """``if``, ``range``, ``with`` or the whole template (kind ``""``)."""

    kind: str
    pipe: _Pipe | None = None
    body: list[_Node] = field(default_factory=list)
    otherwise: list[_Node] = field(default_factory=list)
    in_else: bool = False
    chained: bool = False

    def add(self, node: _Node) -> None:
        (self.otherwise if self.in_else else self.body).append(node)


_Node = Union[_Text, _Pipe, _Block]


class _Tokens:
    def __init__(self, body: str) -> None:
        self.items: list[tuple[str, str]] = []
        at = 0
        body = body.strip()
        while at < len(body):
            match = _TOKEN.match(body, at)
            if match is None or match.lastgroup is None:
                raise _bad(f"cannot read {body[at:at + 20]!r}")
            self.items.append((match.lastgroup, match[match.lastgroup]))
            at = match.end()
        self.at = 0

    def peek(self) -> tuple[str, str]:
        return self.items[self.at] if self.at < len(self.items) else ("end", "")

    def next(self) -> tuple[str, str]:
        token = self.peek()
        self.at += 1
        return token


def _parse_pipe(tokens: _Tokens, *, nested: bool = False) -> _Pipe:
    names = _parse_names(tokens)
    calls: list[_Call] = []
    words: list[_Operand] = []
    while True:
        kind, text = tokens.next()
        if kind == "mark" and text == "(":
            words.append(_parse_pipe(tokens, nested=True))
            continue
        closes = (kind == "mark" and text == ")" and nested) or (kind == "end" and not nested)
        if closes or (kind == "mark" and text == "|"):
            if not words:
                raise _bad("a command is missing")
            calls.append(_Call(tuple(words)))
            words = []
            if closes:
                return _Pipe(tuple(calls), names)
            continue
        words.append(_operand(kind, text))


def _parse_names(tokens: _Tokens) -> tuple[str, ...]:
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


def _operand(kind: str, text: str) -> _Operand:
    match kind:
        case "string":
            return _Literal(text[1:-1] if text[0] == "`" else json.loads(text, strict=False))
        case "number":
            return _Literal(int(text))
        case "path":
            head, *names = text.split(".")
            return _Path(head or None, tuple(name for name in names if name))
        case "word":
            constants = {"true": True, "false": False, "nil": None}
            return _Literal(constants[text]) if text in constants else _Word(text)
        case _:
            raise _bad(f"unexpected {text or 'end'!r}")


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
        raise _bad("an action is not closed with }}")
    yield "text", rest.lstrip() if trim else rest


def _parse(source: str) -> _Block:
    stack = [_Block("")]
    for kind, text in _pieces(source):
        if kind == "text":
            if text:
                stack[-1].add(_Text(text))
            continue
        word, _, rest = text.partition(" ")
        if text.startswith("/*"):
            continue
        if word in {"if", "range", "with"}:
            block = _Block(word, _parse_pipe(_Tokens(rest)))
            stack[-1].add(block)
            stack.append(block)
        elif word == "else":
            _open_else(stack, rest.strip())
        elif text == "end":
            _close(stack)
        else:
            stack[-1].add(_parse_pipe(_Tokens(text)))
    if len(stack) != 1:
        raise _bad(f"{stack[-1].kind} without end")
    return stack[0]


def _open_else(stack: list[_Block], rest: str) -> None:
    block = stack[-1]
    if not block.kind or block.in_else:
        raise _bad("else without if")
    block.in_else = True
    if rest:
        word, _, condition = rest.partition(" ")
        if word != "if":
            raise _bad(f"unexpected {word!r} after else")
        inner = _Block("if", _parse_pipe(_Tokens(condition)), chained=True)
        block.add(inner)
        stack.append(inner)


def _close(stack: list[_Block]) -> None:
    if len(stack) == 1:
        raise _bad("end without if, range or with")
    while stack.pop().chained:
        continue


# -- evaluating ----------------------------------------------------------------------------------------


def _shown(value: Any) -> str:
    """A value as Go prints it."""
    match value:
        case None:
            return "<no value>"
        case bool():
            return "true" if value else "false"
        case str():
            return value
        case Mapping():
            return "map[" + " ".join(f"{k}:{_shown(v)}" for k, v in sorted(value.items())) + "]"
        case list() | tuple():
            return "[" + " ".join(_shown(item) for item in value) + "]"
        case _:
            return str(value)


def _index(value: Any, *keys: Any) -> Any:
    for key in keys:
        if isinstance(value, Mapping):
            value = value.get(key)
        else:
            try:
                value = value[key]
            except (TypeError, IndexError):
                raise _bad(f"no element {key!r}") from None
    return value


def _printf(form: str, *values: Any) -> str:
    form = re.sub(r"%(-?\d*)[vq]", r"%\1s", form)
    shown = tuple(v if isinstance(v, int) and not isinstance(v, bool) else _shown(v) for v in values)
    return form % shown


_FUNCTIONS: Final[dict[str, Callable[..., Any]]] = {
    "json": lambda value: json.dumps(value, ensure_ascii=False, separators=(",", ":")),
    "upper": lambda text: str(text).upper(),
    "lower": lambda text: str(text).lower(),
    "title": lambda text: str(text).title(),
    "join": lambda items, separator: separator.join(_shown(i) for i in items),
    "split": lambda text, separator: text.split(separator),
    "truncate": lambda text, length: text[:length],
    "pad": lambda text, before, after: " " * before + text + " " * after,
    "print": lambda *values: "".join(_shown(v) for v in values),
    "println": lambda *values: " ".join(_shown(v) for v in values) + "\n",
    "printf": _printf,
    "len": len,
    "index": _index,
    "slice": lambda value, *bounds: value[slice(*bounds)] if len(bounds) > 1 else value[bounds[0]:],
    "eq": lambda first, *others: any(first == other for other in others),
    "ne": lambda a, b: a != b,
    "lt": lambda a, b: a < b,
    "le": lambda a, b: a <= b,
    "gt": lambda a, b: a > b,
    "ge": lambda a, b: a >= b,
    "not": lambda value: not value,
    "and": lambda *values: next((v for v in values if not v), values[-1]),
    "or": lambda *values: next((v for v in values if v), values[-1]),
}


class _Run:
    def __init__(self, data: Any) -> None:
        self.variables: dict[str, Any] = {"$": data}
        self.out: list[str] = []

    def block(self, nodes: Sequence[_Node], dot: Any) -> None:
        for node in nodes:
            match node:
                case _Text():
                    self.out.append(node.text)
                case _Pipe():
                    value = self.pipe(node, dot)
                    if not node.names:
                        self.out.append(_shown(value))
                case _Block():
                    self.branch(node, dot)

    def branch(self, node: _Block, dot: Any) -> None:
        assert node.pipe is not None  # only the root block has none, and it is no node
        value = self.pipe(node.pipe, dot)
        if not value:
            self.block(node.otherwise, dot)
        elif node.kind == "range":
            pairs = sorted(value.items()) if isinstance(value, Mapping) else list(enumerate(value))
            for pair in pairs:
                self.assign(node.pipe.names, pair)
                self.block(node.body, pair[1])
        else:
            self.block(node.body, value if node.kind == "with" else dot)

    def assign(self, names: tuple[str, ...], pair: tuple[Any, Any]) -> None:
        self.variables.update(zip(names, pair if len(names) == 2 else pair[1:], strict=False))

    def pipe(self, pipe: _Pipe, dot: Any) -> Any:
        value = self.call(pipe.calls[0], dot, ())
        for call in pipe.calls[1:]:
            value = self.call(call, dot, (value,))
        if len(pipe.names) == 1:
            self.variables[pipe.names[0]] = value
        return value

    def call(self, call: _Call, dot: Any, last: tuple[Any, ...]) -> Any:
        head, *rest = call.words
        args = (*(self.operand(word, dot) for word in rest), *last)
        if isinstance(head, _Word):
            function = _FUNCTIONS.get(head.name)
            if function is None:
                raise _bad(f"function {head.name!r} is not defined")
        else:
            found = self.operand(head, dot)
            if not callable(found):
                if args:
                    raise _bad("arguments for something that is no function")
                return found
            function = found
        try:
            return function(*args)
        except (TypeError, ValueError, AttributeError, IndexError) as error:
            raise _bad(str(error)) from error

    def operand(self, word: _Operand, dot: Any) -> Any:
        match word:
            case _Literal():
                return word.value
            case _Pipe():
                return self.pipe(word, dot)
            case _Word():
                return self.call(_Call((word,)), dot, ())
            case _Path():
                return self.path(word, dot)

    def path(self, path: _Path, dot: Any) -> Any:
        value = dot
        if path.variable is not None:
            if path.variable not in self.variables:
                raise _bad(f"undefined variable {path.variable!r}")
            value = self.variables[path.variable]
        for name in path.names:
            if not isinstance(value, Mapping) or (name not in value and _declared(value)):
                known = ", ".join(k for k in value if k[:1].isupper()) if isinstance(value, Mapping) else ""
                raise _bad(f"no field {name!r}" + (f"; there are: {known}" if known else ""))
            value = value.get(name)
        return value


def _declared(value: Mapping[str, Any]) -> bool:
    """Whether a mapping stands for a struct (names begin upper case), where a missing field is an error."""
    return bool(value) and all(isinstance(k, str) and k[:1].isupper() for k in value)


class Template:
    """A parsed template. Raises UsageError when it cannot be read, or does not fit the data."""

    def __init__(self, source: str) -> None:
        self._root = _parse(source)

    def render(self, data: Mapping[str, Any]) -> str:
        run = _Run(data)
        run.block(self._root.body, data)
        return "".join(run.out)

    def headings(self, names: Mapping[str, str]) -> str:
        """The template with headings for values, as docker's ``table`` form prints its first line."""
        upper = {key: names.get(key, re.sub(r"(?<=[a-z])(?=[A-Z])", " ", key).upper()) for key in self.fields()}
        labels: dict[str, Any] = {k: (lambda key: key) if k == "Label" else v for k, v in upper.items()}
        return self.render(labels)

    def fields(self) -> set[str]:
        """First names of all paths that start at the dot."""
        found: set[str] = set()

        def walk(node: Any) -> None:
            match node:
                case _Path(None, (first, *_)):
                    found.add(first)
                case _Pipe():
                    for call in node.calls:
                        for word in call.words:
                            walk(word)
                case _Block():
                    for inner in (node.pipe, *node.body, *node.otherwise):
                        walk(inner)
                case _:
                    return

        walk(self._root)
        return found
