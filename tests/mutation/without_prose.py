"""mutmut's command line, but for text: prose is left as it is, and any other literal is changed once.

What a message says is for a person; no test should hold its wording, and a third of all mutants would be
about nothing else: a string literal with a space in it is not mutated. A code, a name, a key of a document
has no space, and is. mutmut changes it in three ways (XX around it, and its case), each of which the same
test kills: the first will do.

And but for time: mutmut sends SIGXCPU to the pid of every mutant when its time is up, also of one that ended
long before, whose pid is somebody else's by then. Here it is sent by a descriptor of the process.
"""

import contextlib
import os
import signal
import threading
from collections.abc import Iterable
from itertools import islice

import libcst as cst
from mutmut.mutation.mutators import mutation_operators, operator_string


def _operator_string(node: cst.BaseString) -> Iterable[cst.BaseString]:
    if not (isinstance(node, cst.SimpleString) and " " in node.raw_value.strip()):
        yield from islice(operator_string(node), 1)


mutation_operators[:] = [  # type: ignore[index]  # mutmut declares its list as a sequence
    (kind, _operator_string if operator is operator_string else operator)
    for kind, operator in mutation_operators]


def _end_after(pid: int, seconds: float) -> None:
    try:
        descriptor = os.pidfd_open(pid)
    except ProcessLookupError:
        return

    def end() -> None:
        with contextlib.suppress(ProcessLookupError):
            signal.pidfd_send_signal(descriptor, signal.SIGXCPU)
        os.close(descriptor)

    timer = threading.Timer(seconds, end)
    timer.daemon = True
    timer.start()


if __name__ == "__main__":
    from mutmut.__main__ import cli
    from mutmut.workers import isolation

    isolation.register_timeout = _end_after

    cli()
