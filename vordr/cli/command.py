"""Kinds of command: the ordinary one, and the one that ends in somebody else's command line."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final

import click

from vordr.cli.context import session
from vordr.cli.unsupported import instead_of

HELP: Final = {"help_option_names": ["-h", "--help"]}
HELP_ONLY: Final = {"help_option_names": ["--help"]}
"""For commands where ``-h`` means something else in docker."""


class UnknownOption(click.UsageError):
    """An option that the command does not have; ``remedies`` say what to do instead."""

    def __init__(self, message: str, ctx: click.Context, remedies: tuple[str, ...]) -> None:
        super().__init__(message, ctx)
        self.remedies = remedies


def _want_json(ctx: click.Context, _: click.Parameter, value: bool) -> None:
    if value:
        session(ctx).json = True


class Command(click.Command):
    """A command that also takes ``--json`` after its name, and knows docker flags that it does not take."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.params.append(
            click.Option(
                ["--json"], is_flag=True, expose_value=False, callback=_want_json, is_eager=True,
                help="Print JSON.",
            )
        )

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        try:
            return super().parse_args(ctx, args)
        except click.NoSuchOption as error:
            raise _unknown(ctx, self.name or "", error.option_name, "") from error


class SplitCommand(Command):
    """``[OPTIONS] TARGET [OPTIONS] [--] [COMMAND…]``: options may follow the target until the first word
    that is none; from there on every word belongs to the container.

    The first two parameters of the click command are arguments named for target and command.
    """

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        return super().parse_args(ctx, self._sort(ctx, args))

    def _sort(self, ctx: click.Context, args: Sequence[str]) -> list[str]:
        """The same words as ``options -- target command…``, which click reads without guessing."""
        flags, valued = self._options(ctx)
        end = _options_end(args, 0, flags, valued, lambda word: _unknown(ctx, self.name or "", word, ""))
        options = list(args[:end])
        rest = list(args[end:])
        if rest[:1] == ["--"]:
            return [*options, *rest]
        if not rest:
            return options
        target, rest = rest[0], rest[1:]
        hint = "put -- before the container's own arguments"
        end = _options_end(rest, 0, flags, valued, lambda word: _unknown(ctx, self.name or "", word, hint))
        options += rest[:end]
        command = rest[end + 1:] if rest[end:end + 1] == ["--"] else rest[end:]
        return [*options, "--", target, *command]

    def _options(self, ctx: click.Context) -> tuple[set[str], set[str]]:
        """Names of the options that stand alone, and of those that take a value."""
        flags: set[str] = set()
        valued: set[str] = set()
        for parameter in self.get_params(ctx):
            if isinstance(parameter, click.Option):
                alone = parameter.is_flag or parameter.count
                (flags if alone else valued).update((*parameter.opts, *parameter.secondary_opts))
        return flags, valued


def _options_end(
    words: Sequence[str], start: int, flags: set[str], valued: set[str],
    unknown: Callable[[str], click.UsageError],
) -> int:
    """Index of the first word that is no option and no option's value (``--`` is such a word)."""
    index = start
    while index < len(words):
        word = words[index]
        if word in {"-", "--"} or not word.startswith("-"):
            break
        index += 1 + _takes_next(word, flags, valued, unknown)
    return min(index, len(words))


def _takes_next(
    word: str, flags: set[str], valued: set[str], unknown: Callable[[str], click.UsageError]
) -> bool:
    """Whether the option word uses up the word after it; raises ``unknown(option)``."""
    if word.startswith("--"):
        name, equals, _ = word.partition("=")
        if name in valued:
            return not equals
        if name in flags:
            return False
        raise unknown(name)
    for position, letter in enumerate(word[1:], start=1):
        option = f"-{letter}"
        if option in valued:
            return position == len(word) - 1
        if option not in flags:
            raise unknown(option)
    return False


def _unknown(ctx: click.Context, command: str, option: str, hint: str) -> click.UsageError:
    """The refusal of an option, with what to use instead where docker knows it."""
    from difflib import get_close_matches

    known = [name for p in ctx.command.get_params(ctx) for name in p.opts if name.startswith("--")]
    near = get_close_matches(option, known, n=1) if option.startswith("--") else []
    advice = [hint, instead_of(command, option) or (f"did you mean {near[0]}?" if near else "")]
    return UnknownOption(f"unknown option {option}", ctx, tuple(a for a in advice if a))
