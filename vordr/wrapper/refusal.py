"""Why a container of another engine may not be made."""

from __future__ import annotations


class Refusal(Exception):
    """``code`` is verified-container-spec's where it has one; ``remedy`` is what a person can do."""

    def __init__(self, code: str, message: str, remedy: str | None = None) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.remedy = remedy

    def __str__(self) -> str:
        cure = f" (to fix: {self.remedy})" if self.remedy else ""
        return f"vordr: {self.code}: {self.message}{cure}"


class Malformed(Refusal):
    """What the caller or its store says cannot be understood."""

    def __init__(self, message: str, remedy: str | None = None) -> None:
        super().__init__("MALFORMED", message, remedy)


class Unreachable(Refusal):
    """Nobody could be asked, or not in time."""

    def __init__(self, message: str, remedy: str | None = None) -> None:
        super().__init__("UNREACHABLE", message, remedy)
