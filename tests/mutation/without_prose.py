"""mutmut's command line, but for text: prose is left as it is, and any other literal is changed once.

What a message says is for a person; no test should hold its wording, and a third of all mutants would be
about nothing else: a string literal with a space in it is not mutated. A code, a name, a key of a document
has no space, and is. mutmut changes it in three ways (XX around it, and its case), each of which the same
test kills: the first will do.
"""

from collections.abc import Iterable
from itertools import islice

import libcst as cst
from mutmut.__main__ import cli
from mutmut.mutation.mutators import mutation_operators, operator_string


def _operator_string(node: cst.BaseString) -> Iterable[cst.BaseString]:
    if not (isinstance(node, cst.SimpleString) and " " in node.raw_value.strip()):
        yield from islice(operator_string(node), 1)


mutation_operators[:] = [  # type: ignore[index]  # mutmut declares its list as a sequence
    (kind, _operator_string if operator is operator_string else operator)
    for kind, operator in mutation_operators]

if __name__ == "__main__":
    cli()
