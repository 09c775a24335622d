"""The part of Go's text/template that ``--format`` is used with (https://pkg.go.dev/text/template).

Fields, variables, pipelines, parentheses, ``if``/``else if``/``else``, ``range``, ``with``, trimming dashes,
and docker's functions (json, join, split, upper, lower, title, truncate, println, …). Not there: nested
template definitions, ``break``, ``continue``, methods other than the callables found in the data.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from vordr.cli.gosyntax import Block, Call, Literal, Node, Operand, Path, Pipe, Text, Word, bad, parse


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
                raise bad(f"no element {key!r}") from None
    return value


def _printf(form: str, *values: Any) -> str:
    verbs = re.findall(r"%-?\d*([a-z%])", form)
    wanted = [verb for verb in verbs if verb != "%"]
    form = re.sub(r"%(-?\d*)[vq]", r"%\1s", form)
    return form % tuple(_verb(verb, value) for verb, value in zip(wanted, values, strict=True))


def _verb(verb: str, value: Any) -> Any:
    if verb == "q":
        return json.dumps(_shown(value), ensure_ascii=False)
    return value if verb == "d" else _shown(value)


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

    def block(self, nodes: Sequence[Node], dot: Any) -> None:
        for node in nodes:
            match node:
                case Text():
                    self.out.append(node.text)
                case Pipe():
                    value = self.pipe(node, dot)
                    if not node.names:
                        self.out.append(_shown(value))
                case Block():
                    self.branch(node, dot)

    def branch(self, node: Block, dot: Any) -> None:
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

    def pipe(self, pipe: Pipe, dot: Any) -> Any:
        value = self.call(pipe.calls[0], dot, ())
        for call in pipe.calls[1:]:
            value = self.call(call, dot, (value,))
        if len(pipe.names) == 1:
            self.variables[pipe.names[0]] = value
        return value

    def call(self, call: Call, dot: Any, last: tuple[Any, ...]) -> Any:
        head, *rest = call.words
        args = (*(self.operand(word, dot) for word in rest), *last)
        if isinstance(head, Word):
            function = _FUNCTIONS.get(head.name)
            if function is None:
                raise bad(f"function {head.name!r} is not defined")
        else:
            found = self.operand(head, dot)
            if not callable(found):
                if args:
                    raise bad("arguments for something that is no function")
                return found
            function = found
        try:
            return function(*args)
        except (TypeError, ValueError, AttributeError, IndexError) as error:
            raise bad(str(error)) from error

    def operand(self, word: Operand, dot: Any) -> Any:
        match word:
            case Literal():
                return word.value
            case Pipe():
                return self.pipe(word, dot)
            case Word():
                return self.call(Call((word,)), dot, ())
            case Path():
                return self.path(word, dot)

    def path(self, path: Path, dot: Any) -> Any:
        value = dot
        if path.variable is not None:
            if path.variable not in self.variables:
                raise bad(f"undefined variable {path.variable!r}")
            value = self.variables[path.variable]
        for name in path.names:
            if not isinstance(value, Mapping) or (name not in value and _declared(value)):
                known = ", ".join(k for k in value if k[:1].isupper()) if isinstance(value, Mapping) else ""
                raise bad(f"no field {name!r}" + (f"; there are: {known}" if known else ""))
            value = value.get(name)
        return value


def _declared(value: Mapping[str, Any]) -> bool:
    """Whether a mapping stands for a struct (names begin upper case), where a missing field is an error."""
    return bool(value) and all(isinstance(k, str) and k[:1].isupper() for k in value)


class Template:
    """A parsed template. Raises UsageError when it cannot be read, or does not fit the data."""

    def __init__(self, source: str) -> None:
        self._root = parse(source)

    def render(self, data: Mapping[str, Any]) -> str:
        run = _Run(data)
        run.block(self._root.body, data)
        return "".join(run.out)

    def headings(self, names: Mapping[str, str]) -> str:
        """The template with headings for values, as docker's ``table`` form prints its first line."""
        split = {key: re.sub(r"(?<=[a-z])(?=[A-Z])", " ", key) for key in self.fields()}
        upper = {key: names.get(key, text.upper()) for key, text in split.items()}
        labels: dict[str, Any] = {k: (lambda key: key) if k == "Label" else v for k, v in upper.items()}
        return self.render(labels)

    def fields(self) -> set[str]:
        """First names of all paths that start at the dot."""
        found: set[str] = set()

        def walk(node: Any) -> None:
            match node:
                case Path(None, (first, *_)):
                    found.add(first)
                case Pipe():
                    for call in node.calls:
                        for word in call.words:
                            walk(word)
                case Block():
                    for inner in (node.pipe, *node.body, *node.otherwise):
                        walk(inner)
                case _:
                    return

        walk(self._root)
        return found
