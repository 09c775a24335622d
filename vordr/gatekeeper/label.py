"""``manifest.toml`` of a .ctp: which image is inside, and who packed it when."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any, Final

from vordr.formats import toml
from vordr.formats.digests import parse_digest
from vordr.formats.errors import FormatError
from vordr.formats.times import format_rfc3339, parse_rfc3339
from vordr.model.errors import ImageUnreadable

_TABLES: Final = {"image": {"name", "manifest"}, "package": {"created", "packer"}}
_LONGEST = 500


@dataclass(frozen=True)
class Label:
    """``name`` of the image, its ``manifest`` digest, ``created`` in µs, ``packer``: which program."""

    name: str
    manifest: str
    created: int
    packer: str

    def to_toml(self) -> bytes:
        """The file's bytes. Raises ImageUnreadable: a name or packer that is empty, long or not printable."""
        _check_words(self)
        return (
            "format = 1\n\n[image]\n"
            f"name = {_quoted(self.name)}\nmanifest = {_quoted(self.manifest)}\n\n[package]\n"
            f"created = {_quoted(format_rfc3339(self.created))}\npacker = {_quoted(self.packer)}\n"
        ).encode()


def parse_label(raw: bytes) -> Label:
    """The label in a file's bytes: exactly the known keys. Raises ImageUnreadable."""
    try:
        table = toml.loads(raw.decode("utf-8"), "manifest.toml")
    except UnicodeDecodeError as error:
        raise ImageUnreadable(f"manifest.toml: not TOML: {error}") from error
    except FormatError as error:
        raise ImageUnreadable(str(error)) from error
    if table.get("format") != 1 or isinstance(table["format"], bool):
        raise ImageUnreadable(f"manifest.toml: format {table.get('format')!r} is not 1",
                              remedy="a newer vordr may know this format")
    if set(table) != {"format", *_TABLES}:
        raise ImageUnreadable("manifest.toml: must have format, [image] and [package] only")
    for name, keys in _TABLES.items():
        part = table[name]
        strings = isinstance(part, dict) and all(isinstance(value, str) for value in part.values())
        if not strings or set(part) != keys:
            raise ImageUnreadable(f"manifest.toml: [{name}] must have the strings {', '.join(sorted(keys))}")
    return _label(table["image"], table["package"])


def _label(image: dict[str, Any], package: dict[str, Any]) -> Label:
    try:
        parse_digest(image["manifest"], "manifest.toml: image.manifest")
        created = parse_rfc3339(package["created"])
    except FormatError as error:
        raise ImageUnreadable(f"manifest.toml: {error}") from error
    label = Label(image["name"], image["manifest"], created, package["packer"])
    if created < 0:
        raise ImageUnreadable("manifest.toml: package.created is before 1970")
    _check_words(label)
    return label


def _check_words(label: Label) -> None:
    for word in (label.name, label.packer):
        if not 0 < len(word) <= _LONGEST or not word.isprintable():
            raise ImageUnreadable(f"manifest.toml: {word[:100]!r} is not 1-{_LONGEST} printable characters")


def _quoted(word: str) -> str:
    """A TOML basic string; for printable text, JSON's escapes are TOML's."""
    return json.dumps(word, ensure_ascii=False)
