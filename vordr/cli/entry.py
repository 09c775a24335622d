"""The program ``vordr``: from arguments to an exit code, with every way out of it in one place.

Nothing but ``sys`` is imported before it is known what is asked for; commands import what they need.
"""

from __future__ import annotations

import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    import click

    from vordr.cli.context import Session

INTERRUPTED = 130
BROKEN_PIPE = 141
COMPLETE = "_VORDR_COMPLETE"
"""The variable by which a shell asks for completions (click's shell_completion)."""


def main() -> None:
    """The console script. Exits with the code of :func:`run`."""
    code = run(sys.argv[1:])
    if "vordr.cli.context" in sys.modules:
        sys.exit(code)
    # Only a few words were said over a socket: taking the interpreter down would cost more than they did.
    import os

    sys.stderr.flush()
    os._exit(code)


def run(arguments: Sequence[str], session: Session | None = None) -> int:
    """Perform one command line (without the program's name) and return its exit code.

    Prints; never raises but for bugs of the interpreter. ``session`` is given by tests and by the admin
    shell, to bring an engine of their own.
    """
    if session is None and list(arguments) == ["--version"]:
        from vordr import __version__

        print(f"vordr {__version__}", flush=True)
        return 0
    own = session is None
    try:
        if session is None:
            from vordr.cli.fast import attempt

            code = attempt(arguments)
            if code is not None:
                sys.stdout.flush()
                return code
            from vordr.cli.context import Session

            session = Session()
        return _guarded(arguments, session)
    except KeyboardInterrupt:
        if sys.stderr.isatty():
            print(file=sys.stderr)  # the terminal has just shown ^C
        return INTERRUPTED
    except BrokenPipeError:
        _silence()
        return BROKEN_PIPE
    except OSError as error:
        _silence()
        why = error.strerror or str(error)
        print(f"Error [ERR_GENERAL]: the answer cannot be written: {why}", file=sys.stderr)
        return 1
    finally:
        if own and session is not None:
            session.close()


def _guarded(arguments: Sequence[str], session: Session) -> int:
    from vordr.cli.app import program

    try:
        code = _invoke(program, list(arguments), session)
        sys.stdout.flush()
        return code if isinstance(code, int) else 0
    except BrokenPipeError:
        raise
    except Exception as error:  # noqa: BLE001 - the outermost edge: nobody above could tell a person
        from vordr.cli.failure import tell

        return tell(error, session)


def _invoke(program: click.Group, arguments: list[str], session: Session) -> object:
    """What ``program.main`` does, less its own ways of exiting: what the command returns."""
    import os

    instruction = os.environ.get(COMPLETE)
    if instruction:
        from click.shell_completion import shell_complete

        return shell_complete(program, {"obj": session}, "vordr", COMPLETE, instruction)
    with program.make_context("vordr", arguments, obj=session) as ctx:
        return program.invoke(ctx)


def _silence() -> None:
    """Point standard output at nothing, so that the interpreter's last flush does not complain again."""
    import os

    try:
        nothing = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nothing, sys.stdout.fileno())
        os.close(nothing)
    except (OSError, ValueError):
        return


if __name__ == "__main__":
    main()
