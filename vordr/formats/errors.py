"""The one error of this package."""

from __future__ import annotations


class FormatError(ValueError):
    """Bytes or a value are not what their format says.

    ``where`` names the place (``"dsse.signatures[2].sig"``, ``"frame"``), ``message`` what is wrong there, in
    one line. Callers of higher layers turn it into an error with a remedy and an exit code.
    """

    def __init__(self, where: str, message: str) -> None:
        super().__init__(where, message)
        self.where = where
        self.message = message

    def __str__(self) -> str:
        return f"{self.where}: {self.message}"
