"""Image references: ``[registry/]repository[:tag][@digest]``, with docker's normalisation.

Grammar and normalisation of the distribution project's ``reference`` package (regexp.go, normalize.go).
Stricter in four places: digests are sha256 only, ports are 1-65535, the registry has a length limit, and
``sha256:<hex>`` is never a repository named sha256 with a tag.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace

from vordr.formats.digests import parse_digest
from vordr.formats.errors import FormatError

DEFAULT_REGISTRY = "docker.io"
DEFAULT_TAG = "latest"
MAX_REPOSITORY = 255
MAX_REGISTRY = 259  # 253 characters of DNS name, a colon, five digits of port

_LEGACY_REGISTRY = "index.docker.io"
_OFFICIAL = "library/"

_LABEL = r"(?:[a-zA-Z0-9]|[a-zA-Z0-9][a-zA-Z0-9-]*[a-zA-Z0-9])"
_REGISTRY = re.compile(rf"(?:{_LABEL}(?:\.{_LABEL})*|\[[a-fA-F0-9:]+\])(?::([0-9]{{1,5}}))?")
_COMPONENT = r"[a-z0-9]+(?:(?:[._]|__|-+)[a-z0-9]+)*"
_REPOSITORY = re.compile(rf"{_COMPONENT}(?:/{_COMPONENT})*")
_TAG = re.compile(r"[a-zA-Z0-9_][a-zA-Z0-9_.-]{0,127}")
_IDENTIFIER = re.compile(r"(?:sha256:)?[a-f0-9]{64}")


@dataclass(frozen=True, slots=True)
class Reference:
    """A normalised reference. ``digest`` is ``sha256:<hex>``; tag and digest may both be there or absent.

    :raises FormatError: a part that the grammar does not allow.
    """

    registry: str
    repository: str
    tag: str | None = None
    digest: str | None = None

    def __post_init__(self) -> None:
        match = _REGISTRY.fullmatch(self.registry) if len(self.registry) <= MAX_REGISTRY else None
        if match is None:
            raise FormatError("reference", f"not a registry: {self.registry[:100]!r}")
        if match.group(1) is not None and not 1 <= int(match.group(1)) <= 65535:
            raise FormatError("reference", f"not a port: {self.registry!r}")
        if not _names_registry(self.registry) or self.registry == _LEGACY_REGISTRY:
            raise FormatError("reference", f"would not be read as a registry: {self.registry!r}")
        if self.registry == DEFAULT_REGISTRY and "/" not in self.repository:
            raise FormatError("reference", f"{DEFAULT_REGISTRY} has no repository without a namespace")
        if len(self.repository) > MAX_REPOSITORY:
            raise FormatError("reference", f"the repository is longer than {MAX_REPOSITORY} characters")
        if self.repository != self.repository.lower():
            raise FormatError("reference", f"the repository must be lowercase: {self.repository[:100]!r}")
        if not _REPOSITORY.fullmatch(self.repository):
            raise FormatError("reference", f"not a repository: {self.repository[:100]!r}")
        if self.tag is not None and not _TAG.fullmatch(self.tag):
            raise FormatError("reference", f"not a tag: {self.tag[:150]!r}")
        if self.digest is not None:
            parse_digest(self.digest, "reference")

    @property
    def name(self) -> str:
        """``registry/repository``."""
        return f"{self.registry}/{self.repository}"

    def __str__(self) -> str:
        """The full form; :func:`parse` of it is equal to this one."""
        return self.name + self._suffix()

    def familiar(self) -> str:
        """The shortest form that :func:`parse` reads as this one: without ``docker.io`` and ``library`` where
        they would be added again."""
        if self.registry != DEFAULT_REGISTRY:
            return str(self)
        name = self.repository
        short = name.removeprefix(_OFFICIAL)
        if "/" not in short:
            whole = short + self._suffix()
            return str(self) if _IDENTIFIER.fullmatch(whole) else whole
        return str(self) if _names_registry(name.partition("/")[0]) else name + self._suffix()

    def with_default_tag(self) -> Reference:
        """Itself if it has a tag or digest, else with the tag ``latest``."""
        return self if self.tag or self.digest else replace(self, tag=DEFAULT_TAG)

    def _suffix(self) -> str:
        return (f":{self.tag}" if self.tag else "") + (f"@{self.digest}" if self.digest else "")


def parse(text: str) -> Reference:
    """The reference a person typed. No tag is added: see :meth:`Reference.with_default_tag`.

    ``nginx`` is ``docker.io/library/nginx``; the part before the first slash is a registry only if it is
    ``localhost``, holds a dot or colon, or an upper case letter.

    :raises FormatError: empty, not of the grammar, or an image's id (64 hexadecimal digits, with or
        without ``sha256:``).
    """
    if not text:
        raise FormatError("reference", "empty")
    if _IDENTIFIER.fullmatch(text):
        raise FormatError("reference", "an image id, not a name")
    registry, rest = _split_registry(text)
    rest, at, digest = rest.partition("@")
    repository, colon, tag = rest.partition(":")
    if registry == DEFAULT_REGISTRY and "/" not in repository:
        repository = _OFFICIAL + repository
    return Reference(registry, repository, tag if colon else None, digest if at else None)


def _split_registry(text: str) -> tuple[str, str]:
    first, slash, rest = text.partition("/")
    if not slash:
        return DEFAULT_REGISTRY, text
    if first == _LEGACY_REGISTRY:
        return DEFAULT_REGISTRY, rest
    return (first, rest) if _names_registry(first) else (DEFAULT_REGISTRY, text)


def _names_registry(first: str) -> bool:
    """Whether the part before the first slash is a registry of that name."""
    return first == "localhost" or "." in first or ":" in first or first != first.lower()
