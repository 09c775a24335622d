"""The admin shell: every command of the program on one engine, with completion and a live bottom line."""

from __future__ import annotations

import os
import shlex
import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import click
from prompt_toolkit import PromptSession
from prompt_toolkit.completion import CompleteEvent, Completer, Completion, ThreadedCompleter
from prompt_toolkit.document import Document
from prompt_toolkit.history import FileHistory
from prompt_toolkit.input import Input
from prompt_toolkit.output import Output

from vordr.cli import entry
from vordr.cli.app import program
from vordr.cli.commands import COMMANDS
from vordr.cli.context import Session
from vordr.cli.wording import printable
from vordr.engine.opening import resolve_root
from vordr.model.arguments import HistoryArgs, ListArgs
from vordr.model.errors import VordrError
from vordr.model.lifecycle import State
from vordr.model.state import ContainerState

PROMPT: Final = "vordr> "
LEAVE: Final = {"exit", "quit"}
_BARRED: Final = {"shell", "serve", "completion"}
FRESH_SECONDS: Final = 2.0


def history_file() -> Path:
    """Where lines are remembered: below ``XDG_STATE_HOME``, else ~/.local/state; the folder is made."""
    base = os.environ.get("XDG_STATE_HOME") or os.path.expanduser("~/.local/state")
    folder = Path(base) / "vordr"
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    return folder / "shell_history"


@dataclass(frozen=True)
class Glance:
    """What the bottom line shows; ``trouble`` why it is not known."""

    containers: tuple[ContainerState, ...] = ()
    newest_act: str = ""
    trouble: str = ""

    def line(self, root: str) -> str:
        if self.trouble:
            return f" {root}  {self.trouble}"
        counts = {state: sum(c.state is state for c in self.containers) for state in State}
        shown = [f"{n} {state}" for state, n in counts.items() if n] or ["no containers"]
        act = f"  last: {self.newest_act}" if self.newest_act else ""
        return printable(f" {root}  {', '.join(shown)}{act}")


class Watch:
    """Looks at the engine from a thread of its own, so that a slow engine never stops the keyboard."""

    def __init__(self, session: Session, clock: Callable[[], float] = time.monotonic) -> None:
        self._session = session
        self._clock = clock
        self._lock = threading.Lock()
        self._glance = Glance()
        self._asked: float | None = None
        self._thread: threading.Thread | None = None

    def latest(self) -> Glance:
        """What was last seen; starts another look when that is a while ago."""
        with self._lock:
            stale = self._asked is None or self._clock() - self._asked >= FRESH_SECONDS
            if stale and (self._thread is None or not self._thread.is_alive()):
                self._asked = self._clock()
                self._thread = threading.Thread(target=self.look, name="shell-watch", daemon=True)
                self._thread.start()
            return self._glance

    def look(self) -> None:
        """Ask the engine now."""
        try:
            engine = self._session.engine()
            containers = engine.call("list", ListArgs(all=True)).answer.containers
            acts = engine.call("history", HistoryArgs(limit=1)).answer.acts
            seen = Glance(containers, acts[0].summary if acts else "")
        except VordrError as error:
            seen = Glance(trouble=error.message)
        with self._lock:
            self._glance = seen

    def names(self) -> list[str]:
        return sorted(c.name for c in self.latest().containers)


class ShellCompleter(Completer):
    """Commands first, then what click knows of the command: options, choices, and names of containers."""

    def __init__(self, session: Session, watch: Watch) -> None:
        self._session = session
        self._watch = watch

    def get_completions(self, document: Document, complete_event: CompleteEvent) -> Iterable[Completion]:
        before = document.text_before_cursor
        try:
            words = shlex.split(before)
        except ValueError:
            return
        word = "" if not before or before[-1].isspace() or not words else words.pop()
        for found in self._candidates(words, word):
            yield Completion(found, start_position=-len(word))

    def _candidates(self, words: list[str], word: str) -> list[str]:
        if not words:
            names = [*(n for n, row in COMMANDS.items() if not row.hidden and n not in _BARRED), *LEAVE]
            return sorted(n for n in names if n.startswith(word))
        from click.shell_completion import ShellComplete

        found = ShellComplete(program, {"obj": self._session}, "vordr", entry.COMPLETE).get_completions(
            words, word)
        values = [item.value for item in found if item.type == "plain"]
        if not values and not word.startswith("-") and words[0] in COMMANDS:
            values = [name for name in self._watch.names() if name.startswith(word)]
        return values


class Shell:
    """Reads lines and runs them on ``session``'s engine. ``input`` and ``output`` are the terminal's unless
    given."""

    def __init__(self, session: Session, *, input: Input | None = None, output: Output | None = None) -> None:
        self.session = session
        self.watch = Watch(session)
        self._input = input
        self._output = output

    def run(self) -> int:
        """Until ``exit`` or the end of input; the exit code of the last command."""
        prompt: PromptSession[str] = PromptSession(
            PROMPT,
            history=FileHistory(str(history_file())),
            completer=ThreadedCompleter(ShellCompleter(self.session, self.watch)),
            complete_while_typing=False,
            bottom_toolbar=self._bottom_line,
            refresh_interval=1.0,
            input=self._input,
            output=self._output,
        )
        code = 0
        while True:
            try:
                line = prompt.prompt()
            except KeyboardInterrupt:
                continue
            except EOFError:
                return code
            if line.strip() in LEAVE:
                return code
            code = self.execute(line, code)

    def execute(self, line: str, code: int = 0) -> int:
        """Run one line; its exit code (``code`` for an empty one)."""
        try:
            words = shlex.split(line, comments=True)
        except ValueError as error:
            click.echo(f"Error [ERR_USAGE]: {error}", err=True)
            return 2
        if words[:1] == ["vordr"]:
            words = words[1:]
        if not words:
            return code
        if words[0] in _BARRED:
            click.echo(f"Error [ERR_USAGE]: {words[0]} is not possible inside the shell", err=True)
            return 2
        if words[0] == "help":
            words = [*words[1:2], "--help"]
        self.session.json = False
        return entry.run(words, self.session)

    def _bottom_line(self) -> Any:
        return self.watch.latest().line(str(resolve_root(self.session.root)))
