"""The keys that leave a container's terminal without ending it. Pure."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Final

DETACH_KEYS: Final = b"\x10\x11"
"""ctrl-p ctrl-q, docker's."""


def detach_keys(text: str) -> bytes:
    """docker's ``--detach-keys``: letters and ``ctrl-X`` separated by commas. Raises UsageError."""
    keys = bytearray()
    for word in text.split(","):
        name = word.strip()
        if len(name) == 1 and name.isascii():
            keys += name.encode()
        elif name.startswith("ctrl-") and len(name) == 6 and name[5] in "abcdefghijklmnopqrstuvwxyz@[\\]^_":
            keys.append(ord(name[5].upper()) & 0x1F)
        else:
            from vordr.model.errors import UsageError

            raise UsageError(f"invalid detach key {word!r}", remedy="such as ctrl-p,ctrl-q")
    return bytes(keys)


class DetachFilter:
    """Finds the detach keys in what is typed; a beginning of them is held back until the next key."""

    def __init__(self, keys: bytes) -> None:
        self._keys = keys
        self._held = 0

    def feed(self, typed: bytes) -> tuple[bytes, bool]:
        """What may go to the container, and whether the keys are complete (the rest is dropped)."""
        passed = bytearray()
        for byte in typed:
            if self._keys and byte == self._keys[self._held]:
                self._held += 1
                if self._held == len(self._keys):
                    self._held = 0
                    return bytes(passed), True
                continue
            passed += self._keys[: self._held]
            self._held = 1 if self._keys and byte == self._keys[0] else 0
            if not self._held:
                passed.append(byte)
        return bytes(passed), False
