"""One command line on the fast path: a question to the service, its progress, and how an error is told."""

from __future__ import annotations

import os
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Any

    from vordr.cli.fastwire import Line
    from vordr.model.errors import VordrError


class Job:
    """One command line on its way: where the service is, and what was asked for."""

    def __init__(self, root: str, line: Line, values: dict[str, Any], rest: list[str]) -> None:
        self.root = root
        self.line = line
        self.values = values
        self.rest = rest

    def ask(
        self, operation: str, request: bytes, files: Sequence[int] = (),
        meanwhile: Callable[[], object] | None = None,
    ) -> tuple[dict[str, Any], list[int]]:
        """As :meth:`Line.ask`, with the errors of the ordinary way."""
        from vordr.cli import fastwire

        show = _Progress() if sys.stderr.isatty() else None
        try:
            return self.line.ask(request, files, show, meanwhile)
        except fastwire.Refused as refused:
            from vordr.engine.remote import rebuild

            raise rebuild(refused.told) from None
        except fastwire.Gone:
            from vordr.engine.remote import went_away

            raise went_away(operation) from None
        except fastwire.Garbled as garbled:
            from vordr.engine.remote import misunderstood

            raise misunderstood(str(garbled)) from None
        finally:
            if show is not None:
                show.wipe()

    def report(self, error: VordrError) -> int:
        """Tell an error as the ordinary way does; its exit code."""
        from vordr.cli.context import Session
        from vordr.cli.failure import report

        session = Session()
        session.debug = bool(os.environ.get("VORDR_DEBUG"))
        return report(error, session)


class _Progress:
    """Shows progress on a terminal; what draws it is imported when there is something to draw."""

    def __init__(self) -> None:
        self._line: Any = None

    def __call__(self, event: dict[str, Any]) -> None:
        if self._line is None:
            from vordr.cli.progress import ProgressLine

            self._line = ProgressLine()
        self._line.show(event)

    def wipe(self) -> None:
        if self._line is not None:
            self._line.wipe()


def vordr_error() -> type[VordrError]:
    """The root of the engine's errors, imported once there is one."""
    from vordr.model.errors import VordrError

    return VordrError
