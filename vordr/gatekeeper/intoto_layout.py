"""in-toto layouts, verified by the ``in-toto`` library: who had to do which steps, and whether they did.

The library checks the layout's signatures (every given key must have signed) and expiry, each step's links by
their functionaries' keys and threshold, sublayouts, and the artifact rules. Around it stands what it leaves
to its caller:

- inspections are commands that a layout, or a functionary's sublayout, has run here: none are, unless asked
- links are copied aside first, so that what was looked at is what is verified
- JSON that two readers could read differently is refused, and one public key under two ids in a layout

Importing this module is cheap, verifying imports ``in_toto``. Its clock is the host's.
"""

from __future__ import annotations

import os
import re
import stat
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from vordr.formats import base64s, canonical
from vordr.formats.errors import FormatError
from vordr.model.errors import ImageUnreadable, PolicyDenied, UsageError

MOST_LINKS: Final = 1024
DEEPEST: Final = 8
LARGEST_LINK: Final = 4 * 1024 * 1024
_LARGEST_KEY: Final = 64 * 1024
_SUBLAYOUT: Final = re.compile(r".+\.[0-9a-f]{8}", re.DOTALL)
"""Names of folders that the library looks into: STEP.KEYID, with the first eight digits of the key id."""
_STEP_NAME: Final = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._ -]{0,127}")


@dataclass(frozen=True)
class StepDone:
    """A step of the layout: ``links`` of ``threshold`` needed ones by its functionaries lay in the folder."""

    name: str
    threshold: int
    functionaries: int


@dataclass(frozen=True)
class Supply:
    """A supply chain that satisfies its layout. ``products`` maps each file that the last step made to the
    hex of its SHA-256; ``inspected`` are the names of the inspections that ran."""

    keys: tuple[str, ...]
    expires: str
    steps: tuple[StepDone, ...]
    products: Mapping[str, str]
    inspected: tuple[str, ...] = ()

    def makes(self, manifest: str) -> str | None:
        """The product whose SHA-256 is the digest ``manifest``; None: none is."""
        wanted = manifest.removeprefix("sha256:")
        return next((name for name, digest in self.products.items() if digest == wanted), None)


def verify(
    layout: Path, keys: Sequence[Path], links: Path, *, inspect: bool = False
) -> Supply:
    """Verify that ``links`` satisfy ``layout``, which all of ``keys`` (PEM files) signed.

    ``inspect`` lets the layout run its inspections: commands of its author, here, as this user. Raises
    UsageError (no key, a file that is not there), ImageUnreadable (not in-toto metadata), PolicyDenied (it
    does not hold, or has inspections that were not asked for).
    """
    if not keys:
        raise UsageError("a layout is nothing without the keys that must have signed it",
                         remedy="vordr verify --layout FILE --layout-key KEY.pem --link-dir DIR")
    with tempfile.TemporaryDirectory(prefix="vordr-in-toto-") as aside:
        folder = Path(aside)
        top = folder / "root.layout"
        top.write_bytes(_read(layout, LARGEST_LINK))
        _copy(links, folder / "links")
        found = _payload(top)
        if found.get("_type") != "layout":
            raise ImageUnreadable(f"{layout}: is a {str(found.get('_type'))[:40]!r}, not a layout")
        inspections = [name for path in (top, *_links(folder / "links")) for name in _checked(path)]
        if inspections and not inspect:
            raise PolicyDenied(
                f"{layout.name}: has inspections ({', '.join(inspections[:3])[:200]}), which are commands "
                "that would run here", remedy="read them; vordr verify --inspect … runs them as you",
                details={"inspections": inspections[:32]})
        return _verify(top, [_read(key, _LARGEST_KEY) for key in keys], folder / "links", found, inspections)


def _verify(
    layout: Path, keys: Sequence[bytes], links: Path, found: Mapping[str, Any], inspections: Sequence[str]
) -> Supply:
    from cryptography.hazmat.primitives.serialization import load_pem_public_key

    # The package has no types.
    from in_toto import exceptions as in_toto_exceptions  # type: ignore[import-untyped]
    from in_toto.models.metadata import Metadata  # type: ignore[import-untyped]
    from in_toto.verifylib import in_toto_verify  # type: ignore[import-untyped]
    from securesystemslib.exceptions import Error as SecureSystemsError
    from securesystemslib.signer import SSlibKey  # type: ignore[attr-defined]  # public, but without __all__

    known: dict[str, dict[str, Any]] = {}
    try:
        for pem in keys:
            key = SSlibKey.from_crypto(load_pem_public_key(pem))
            known[key.keyid] = {**key.to_dict(), "keyid": key.keyid}
    except (ValueError, SecureSystemsError) as error:
        raise UsageError(f"not a public key in PEM: {_first_line(error)}") from None
    try:
        summary = in_toto_verify(
            Metadata.load(str(layout)), known, link_dir_path=str(links), persist_inspection_links=False)
    # What strangers wrote reaches the library's innards: errors of all these kinds come out of there.
    except (in_toto_exceptions.Error, SecureSystemsError, ValueError, KeyError, TypeError, AttributeError,
            OSError, RecursionError) as error:
        raise PolicyDenied(
            f"the layout does not hold: {_first_line(error)}", details={"kind": type(error).__name__},
            remedy="ask whoever made the image for the layout's missing or newer links") from None
    steps = tuple(
        StepDone(str(step["name"]), int(step["threshold"]), len(step["pubkeys"]))
        for step in found["steps"])
    products = {str(name): str(digests["sha256"])
                for name, digests in summary.products.items() if "sha256" in digests}
    return Supply(tuple(sorted(known)), str(found["expires"]), steps, products, tuple(inspections))


def _checked(path: Path) -> Iterator[str]:
    """Names of the inspections of a layout; raises what the library would not see."""
    payload = _payload(path)
    if payload.get("_type") != "layout":
        return
    steps, keys, inspections = payload.get("steps"), payload.get("keys"), payload.get("inspect")
    if not isinstance(steps, list) or not isinstance(keys, dict) or not isinstance(inspections, list):
        raise ImageUnreadable(f"{path.name}: a layout without lists of steps and inspections, and keys")
    for item in (*steps, *inspections):
        # A step's name becomes a part of the names of files that are read.
        if not isinstance(item, dict) or not _STEP_NAME.fullmatch(str(item.get("name"))):
            raise ImageUnreadable(f"{path.name}: a step without a plain name")
    values = [
        key["keyval"]["public"] for key in keys.values()
        if isinstance(key, dict) and isinstance(key.get("keyval"), dict) and "public" in key["keyval"]]
    plain = ["".join(str(value).split()) for value in values]
    if len(set(plain)) != len(plain):
        raise PolicyDenied(f"{path.name}: one public key under two ids: thresholds would count it twice")
    yield from (str(item["name"]) for item in inspections)


def _payload(path: Path) -> dict[str, Any]:
    """What is signed in a metadata file, in in-toto's own wrapping or in a DSSE envelope."""
    try:
        value: Any = canonical.loads(_read(path, LARGEST_LINK), where=path.name)
        match value:
            case {"signed": dict(signed), "signatures": list()}:
                return signed
            case {"payload": str(text), "payloadType": str(), "signatures": list()}:
                inner: Any = canonical.loads(base64s.decode(text, path.name), where=path.name)
                if isinstance(inner, dict):
                    return inner
    except FormatError as error:
        raise ImageUnreadable(str(error)) from None
    raise ImageUnreadable(f"{path.name}: not in-toto metadata")


# -- files -----------------------------------------------------------------------------------------


def _read(path: Path, limit: int) -> bytes:
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        raise UsageError(f"cannot read {path}: {error.strerror}") from None
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise UsageError(f"{path} is not a file")
    with open(descriptor, "rb") as file:
        content = file.read(limit + 1)
    if len(content) > limit:
        raise ImageUnreadable(f"{path}: is longer than {limit} bytes")
    return content


def _copy(source: Path, target: Path, depth: int = 0, seen: list[int] | None = None) -> None:
    """Copy the links of a folder and of the folders of sublayouts in it; symbolic links are not followed."""
    count = seen if seen is not None else [0]
    target.mkdir()
    if depth > DEEPEST:
        raise ImageUnreadable(f"{source}: sublayouts are nested deeper than {DEEPEST}")
    try:
        entries = sorted(os.scandir(source), key=lambda entry: entry.name)
    except OSError as error:
        raise UsageError(f"cannot read {source}: {error.strerror}") from None
    for entry in entries:
        if entry.is_dir(follow_symlinks=False) and _SUBLAYOUT.fullmatch(entry.name):
            _copy(Path(entry.path), target / entry.name, depth + 1, count)
        elif entry.name.endswith(".link") and not entry.is_symlink():
            count[0] += 1
            if count[0] > MOST_LINKS:
                raise ImageUnreadable(f"{source}: more than {MOST_LINKS} links")
            (target / entry.name).write_bytes(_read(Path(entry.path), LARGEST_LINK))


def _links(folder: Path) -> Iterator[Path]:
    return (path for path in sorted(folder.rglob("*.link")) if path.is_file())


def _first_line(error: BaseException) -> str:
    words = str(error).strip().splitlines()
    return (words[0] if words else type(error).__name__)[:300]
