"""Reading the plain command lines of the fast path, without click: which options it knows, and how they read.

:data:`GRAMMARS` repeats a part of what the click commands declare, for it must not import them; a test holds
that both read every line alike. What is not plain (an option not listed here, a value that could be taken for
an option) is no error: :func:`read` answers None, and click has its say.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Any, Final

FLAG: Final = "flag"
TEXT: Final = "text"
MANY: Final = "many"
COUNT: Final = "count"
"""Kinds of option: it stands alone; it takes a text, the last one counting; texts; a number from 0."""


class Grammar:
    """``options``: option word → (field, kind). ``split``: as :class:`~vordr.cli.command.SplitCommand`.

    ``least`` positional words are needed.
    """

    def __init__(self, options: Mapping[str, tuple[str, str]], *, least: int, split: bool = False) -> None:
        self.options = options
        self.least = least
        self.split = split


_STOP: Final = dict.fromkeys(("-t", "--time", "--timeout"), ("timeout", COUNT))
_PROCESS: Final = {
    "-d": ("detach", FLAG), "--detach": ("detach", FLAG),
    "-i": ("stdin", FLAG), "--interactive": ("stdin", FLAG),
    "-t": ("tty", FLAG), "--tty": ("tty", FLAG),
    "-e": ("env", MANY), "--env": ("env", MANY),
    "-u": ("user", TEXT), "--user": ("user", TEXT),
    "-w": ("workdir", TEXT), "--workdir": ("workdir", TEXT),
}

GRAMMARS: Final = {
    "run": Grammar({
        **_PROCESS,
        "--name": ("name", TEXT),
        "-h": ("hostname", TEXT), "--hostname": ("hostname", TEXT),
        "--read-only": ("read_only", FLAG), "--init": ("init", FLAG),
        "--rm": ("auto_remove", FLAG), "--remove-on-exit": ("auto_remove", FLAG),
    }, least=1, split=True),
    "exec": Grammar(_PROCESS, least=2, split=True),
    "ps": Grammar({
        "-a": ("every", FLAG), "--all": ("every", FLAG),
        "-q": ("quiet", FLAG), "--quiet": ("quiet", FLAG),
        "--no-trunc": ("no_trunc", FLAG),
    }, least=0),
    "start": Grammar({}, least=1),
    "stop": Grammar(_STOP, least=1),
    "restart": Grammar(_STOP, least=1),
    "kill": Grammar({}, least=1),
    "pause": Grammar({}, least=1),
    "unpause": Grammar({}, least=1),
    "resume": Grammar({}, least=1),
    "rm": Grammar({"-f": ("force", FLAG), "--force": ("force", FLAG)}, least=1),
}


def read(words: Sequence[str], grammar: Grammar) -> tuple[dict[str, Any], list[str]] | None:
    """The options that were given by field, and the positional words; None when click must read the line."""
    values: dict[str, Any] = {}
    rest: list[str] = []
    index = 0
    while index < len(words):
        word = words[index]
        index += 1
        if word[:1] != "-" or word == "-":
            rest.append(word)
            if grammar.split and len(rest) == 2:  # from here on every word is the container's
                rest += words[index:]
                break
            continue
        if word == "--":
            if not (grammar.split and rest):
                return None
            rest += words[index:]
            break
        following = words[index] if index < len(words) else None
        taken = _long(word, following, grammar, values) if word[1] == "-" else \
            _short(word, following, grammar, values)
        if taken is None:
            return None
        index += taken
    return (values, rest) if len(rest) >= grammar.least else None


def _long(word: str, following: str | None, grammar: Grammar, values: dict[str, Any]) -> int | None:
    """Take ``--name``, ``--name=value`` or ``--name value``; how many words more it used, None: not plain."""
    name, equals, value = word.partition("=")
    option = grammar.options.get(name)
    if option is None or (option[1] == FLAG and equals):
        return None
    if option[1] == FLAG:
        values[option[0]] = True
        return 0
    if equals:
        return 0 if _keep(option, value, values) else None
    return 1 if _keep(option, following, values) else None


def _short(word: str, following: str | None, grammar: Grammar, values: dict[str, Any]) -> int | None:
    """Take ``-a``, ``-ab``, ``-avalue`` or ``-a value``, as :func:`_long`."""
    for position in range(1, len(word)):
        option = grammar.options.get(f"-{word[position]}")
        if option is None:
            return None
        if option[1] == FLAG:
            values[option[0]] = True
            continue
        value = word[position + 1:]
        if value:
            return 0 if _keep(option, value, values) else None
        return 1 if _keep(option, following, values) else None
    return 0


def _keep(option: tuple[str, str], value: str | None, values: dict[str, Any]) -> bool:
    """Note an option's value, if there is one and it is plain."""
    field, kind = option
    if value is None or value[:1] in ("-", "="):
        return False
    if kind == COUNT:
        if not (value.isascii() and value.isdigit() and len(value) < 10):
            return False
        values[field] = int(value)
    elif kind == MANY:
        values.setdefault(field, []).append(value)
    else:
        values[field] = value
    return True
