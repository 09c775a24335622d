"""One function of bytes for each reader of what comes from outside, and what must hold of it.

A harness returns False for bytes that are refused in the documented way, and True for bytes that are accepted
and are what the reader says. Everything else is an error: another exception, an assertion, or (by the
fuzzer's own bounds) a hang or memory without end.
"""

from __future__ import annotations

import base64
import io
import json
import tarfile
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any

import mutators
import seeds
from gatekeeper_world import LOGS, NOW, SUBJECT, digest_of
from mutators import Mutate

from vordr.formats import canonical
from vordr.formats.digests import sha256_digest
from vordr.formats.errors import FormatError
from vordr.gatekeeper import bundle as bundles
from vordr.gatekeeper import edge_policy, policy, trust
from vordr.gatekeeper.decide import Mode, decide, explain, report
from vordr.gatekeeper.demands import Outcome
from vordr.gatekeeper.evidence import Beside
from vordr.gatekeeper.package import CtpReader
from vordr.gatekeeper.policy import Policy
from vordr.gatekeeper.scopes import Pinned, Scope, SvalinnDemand
from vordr.images.decompress import BlobInvalid, Compression, LimitExceeded, TarSource
from vordr.images.layer_tree import LayerRefused, LayerTree
from vordr.images.limits import Limits
from vordr.images.tarstream import Member, TarInvalid, Type, members
from vordr.model.errors import (
    ConfigInvalid,
    ConfigUnparsable,
    ImageUnreadable,
    PolicyDenied,
    TrustStoreInvalid,
    VerificationRejected,
)


@dataclass(frozen=True)
class Harness:
    """``run`` tells whether the bytes were accepted, and raises for what must not be. ``longest`` is the
    length of inputs, in bytes; ``runs`` how many a short run makes."""

    run: Callable[[bytes], bool]
    seeds: Callable[[], Iterable[bytes]]
    mutate: Mutate
    longest: int
    runs: int = 3000


# -- canonical JSON --------------------------------------------------------------------------------

_REFUSALS = ("duplicate key", "is not JSON", "too large for a double", "lone surrogate", "nested deeper",
             "byte order mark", "Exceeds the limit")


def canonical_json(data: bytes) -> bool:
    """What is accepted is what the standard reader reads, and its canonical form reads and writes as itself.
    What is refused is no JSON, or for a reason of the list above."""
    try:
        value = canonical.loads(data)
    except FormatError as error:
        assert not _is_json(data) or any(word in str(error) for word in _REFUSALS), str(error)
        return False
    assert _same(value, json.loads(data.decode("utf-8"), object_pairs_hook=_each_once))
    try:
        written = canonical.dumps(value)
    except FormatError:
        assert _beyond_doubles(value)
        return True
    assert not _beyond_doubles(value)
    again = canonical.loads(written)
    assert again == value and written == canonical.fast_dumps(value)
    # 1e20 is written without its exponent, as the RFC has it, and is then an integer that is not signed.
    assert _beyond_doubles(again) or canonical.dumps(again) == written
    return True


def _each_once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    assert len(dict(pairs)) == len(pairs)
    return dict(pairs)


def _is_json(data: bytes) -> bool:
    try:
        json.loads(data.decode("utf-8"))
    except (ValueError, RecursionError):
        return False
    return True


def _same(one: Any, other: Any) -> bool:
    """Equal, and of the same types: 1 is not 1.0, nor True."""
    if type(one) is not type(other):
        return False
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(_same(one[name], other[name]) for name in one)
    if isinstance(one, list):
        return len(one) == len(other) and all(map(_same, one, other))
    return bool(one == other)


def _beyond_doubles(value: Any) -> bool:
    if isinstance(value, dict):
        return any(map(_beyond_doubles, value.values()))
    if isinstance(value, list):
        return any(map(_beyond_doubles, value))
    return isinstance(value, int) and not isinstance(value, bool) and abs(value) > 2**53 - 1


# -- bundles ---------------------------------------------------------------------------------------

_STORE = seeds.TRUST
_SOUND = [decide(SUBJECT, one, _STORE, Policy(), NOW, 1) for one in seeds.BUNDLES]
_DOCUMENTS = [json.loads(one) for one in seeds.bundles()]
_SIGNED = {digest_of(one) for document in _DOCUMENTS[:4] for one in document["attestations"]}
_SIGNATURES = {
    (one["keyid"], one["sig"]) for document in _DOCUMENTS[:4] for envelope in document["attestations"]
    for one in envelope["signatures"]}
_LOGGED = {one["signedEntryTimestamp"] for document in _DOCUMENTS[:4] for one in document["logEntries"]}


def bundle(data: bytes) -> bool:
    """A bundle that is accepted says what a sound one says, by the same keys: a key signed nothing else."""
    told = report(SUBJECT, data, _STORE, Policy(), NOW, Mode.PERMISSIVE)
    try:
        verdict = decide(SUBJECT, data, _STORE, Policy(), NOW, 1)
    except VerificationRejected as refusal:
        assert (told.code, told.step) == (refusal.code, refusal.step) and told.warnings
        return False
    assert told.code is None and not told.warnings
    assert (verdict.manifest, verdict.config, verdict.layers) == (
        SUBJECT.manifest, SUBJECT.config, SUBJECT.layers)
    assert verdict.bundle == sha256_digest(data)
    parsed = bundles.parse(data)
    assert {one.digest for one in parsed.attestations} <= _SIGNED
    document = json.loads(data)
    assert {(one["keyid"], one["sig"]) for envelope in document["attestations"]
            for one in envelope["signatures"]} <= _SIGNATURES
    assert {one["signedEntryTimestamp"] for one in document["logEntries"] if one["logId"] in LOGS} <= _LOGGED
    alike = [one for one in _SOUND if set(verdict.keys) <= set(one.keys) and verdict.origin == one.origin]
    assert alike, (verdict.keys, verdict.origin)
    return True


# -- trust stores ----------------------------------------------------------------------------------


def trust_store(data: bytes) -> bool:
    """A store that is accepted reads back from what it writes, no key has two places in it, and the document
    calls each by the digest of its bytes."""
    try:
        store = trust.parse(data)
    except TrustStoreInvalid:
        return False
    assert trust.parse(canonical.dumps(store.to_document())).digest == store.digest
    parts = [part for one in (*store.keys, *store.logs) for part in one.public.parts]
    assert len(set(parts)) == len(parts)
    listed = [one for role in json.loads(data)["keys"].values() for one in role]
    assert all(one["id"] == sha256_digest(base64.b64decode(one["publicKey"])) for one in listed)
    known = {one.id: one for one in store.keys}
    assert len(known) == len(store.keys) and len(store.logs) >= trust.FEWEST_LOGS
    for group in store.groups:
        keys = {known[member].public.raw for member in group.members}
        assert 1 <= group.k <= len(keys) == len(group.members)
    return True


# -- policies --------------------------------------------------------------------------------------


def _pinned(name: str) -> bytes:
    if name not in seeds.PINNED:
        raise ConfigInvalid(f"{name}: cannot be read")
    return seeds.PINNED[name]


def toml_policy(data: bytes) -> bool:
    """What is accepted is within its bounds, has a digest, and can be asked about any name."""
    try:
        text = data.decode("utf-8")
        read = policy.parse(text, "policy.toml", _pinned)
    except (UnicodeDecodeError, ConfigInvalid, ConfigUnparsable):
        return False
    assert 1 <= read.verdict_ttl <= policy.LONGEST_TTL and 1 <= read.distinct_log_operators <= 16
    assert read.digest == policy.parse(text, "policy.toml", _pinned).digest
    for scope in read.scopes:
        assert scope.matches(()) and scope.matches(["docker.io/library/web:1"]) in (True, False)
    return True


_NAMES = Beside(("docker.io/library/web:1", "registry.example.org:5000/prod/web@sha256:" + "0" * 64))


def json_policy(data: bytes) -> bool:
    """Of what is accepted every demand has a line, and an image passes exactly if each of them holds."""
    try:
        read = edge_policy.parse(data)
    except FormatError:
        return False
    assert read.document == json.loads(data)
    demand = SvalinnDemand(Pinned("edge.json", sha256_digest(data)[7:], data), read)
    whole = Policy(scopes=(Scope("all", ("*",), svalinn=(demand,)),))
    _, lines = explain(SUBJECT, seeds.BUNDLES[0], _STORE, whole, NOW, _NAMES)
    try:
        decide(SUBJECT, seeds.BUNDLES[0], _STORE, whole, NOW, 1, _NAMES)
    except PolicyDenied:
        assert any(line.outcome is not Outcome.HOLDS for line in lines)
    else:
        assert all(line.outcome is Outcome.HOLDS for line in lines)
    return True


# -- packages --------------------------------------------------------------------------------------

_PACKAGE = CtpReader(io.BytesIO(seeds.PACKAGE))


def ctp(data: bytes) -> bool:
    """A package whose parts agree and whose release signature holds is the one that Alice packed."""
    try:
        reader = CtpReader(io.BytesIO(data))
        blobs = {digest: stream.read() for digest, _, stream in reader.blobs()}
    except (ImageUnreadable, VerificationRejected):
        return False
    assert set(blobs) == {reader.subject.manifest, reader.subject.config, *(
        layer.digest for layer in reader.layers)}
    assert all(sha256_digest(content) == digest for digest, content in blobs.items())
    assert reader.label.manifest == reader.subject.manifest
    try:
        reader.verify_release(_STORE, NOW)
    except VerificationRejected:
        return True
    assert (reader.label, reader.bundle, reader.subject) == (
        _PACKAGE.label, _PACKAGE.bundle, _PACKAGE.subject)
    return True


# -- layers ----------------------------------------------------------------------------------------

_LIMITS = Limits(stream_bytes=1 << 20, entries=200, ratio=50, ratio_from=1 << 16)
_PACKINGS = (Compression.NONE, Compression.GZIP, Compression.ZSTD)
_OF_TARFILE = {
    tarfile.REGTYPE: Type.FILE, tarfile.AREGTYPE: Type.FILE, tarfile.LNKTYPE: Type.HARD_LINK,
    tarfile.SYMTYPE: Type.SYMLINK, tarfile.DIRTYPE: Type.DIRECTORY, tarfile.FIFOTYPE: Type.FIFO}


def layer_tar(data: bytes) -> bool:
    """No admitted member leaves the layer or asks the kernel for what it cannot do, and another reader of
    tars finds the same members."""
    body = io.BytesIO(data[1:])
    source = TarSource(body.read, len(data), _PACKINGS[(data[0] if data else 0) % 3], _LIMITS)
    tree, folders, files = LayerTree(_LIMITS), {b""}, set[bytes]()
    whole, found = io.BytesIO(), list[tuple[Member, bytes]]()

    def read(size: int) -> bytes:
        part = source.read(size)
        whole.write(part)
        return part

    try:
        for member, content in members(read):
            admitted = tree.admit(member)
            for folder in admitted.parents:
                _check_path(folder, folders)
                folders.add(folder)
            if admitted.place is not None:
                _check_member(member, admitted.place.path, admitted.place.link, folders, files)
                assert all(0 < len(key.encode()) < 256 and "\0" not in key for key in admitted.place.xattrs)
            found.append((member, b"".join(content)))
        source.drain()
    except (TarInvalid, LayerRefused, BlobInvalid, LimitExceeded):
        return False
    assert source.total <= _LIMITS.stream_bytes and tree.entries <= _LIMITS.entries
    for path in tree.whiteouts():
        _check_path(path, folders)
        assert path not in files
    assert set(tree.opaque()) <= folders
    if found:
        _check_same(found, whole.getvalue())
    return True


def _check_path(path: bytes, folders: set[bytes]) -> None:
    """A name right below a real folder, of a length that the kernel takes."""
    folder, _, name = path.rpartition(b"/")
    assert folder in folders and name not in (b"", b".", b"..") and b"\0" not in path
    assert len(name) <= 255 and len(path) + 2 <= 4096


def _check_member(
    member: Member, path: bytes, link: bytes | None, folders: set[bytes], files: set[bytes]
) -> None:
    assert 0 <= member.uid < 2**32 - 1 and 0 <= member.gid < 2**32 - 1
    if path:
        _check_path(path, folders)
    if member.type is Type.DIRECTORY:
        assert path not in files
        folders.add(path)
        return
    assert path not in files and path not in folders
    assert member.type is not Type.SYMLINK or (0 < len(member.link) < 4096 and b"\0" not in member.link)
    assert (link in files) if member.type is Type.HARD_LINK else link is None
    files.add(path)


def _check_same(found: list[tuple[Member, bytes]], tar: bytes) -> None:
    """Python's reader finds the same names, kinds and contents, or says that it cannot read on. It takes
    global pax headers for members' own, which this reader leaves out: such tars are not compared."""
    try:
        with tarfile.open(fileobj=io.BytesIO(tar), mode="r:", errors="surrogateescape") as other:
            theirs = [(one.name, _OF_TARFILE.get(one.type), _content(other, one)) for one in other]
    except tarfile.TarError:
        return
    if other.pax_headers:
        return
    ours = [(_plain(one.name.decode("utf-8", "surrogateescape")), one.type, content)
            for one, content in found]
    assert ours == [(_plain(name), kind, content) for name, kind, content in theirs]


def _content(tar: tarfile.TarFile, member: tarfile.TarInfo) -> bytes:
    file = tar.extractfile(member) if member.isreg() else None
    return file.read() if file else b""


def _plain(name: str) -> str:
    return str(PurePosixPath(name))


HARNESSES: dict[str, Harness] = {
    "canonical_json": Harness(canonical_json, seeds.documents, mutators.json_value, 8192),
    "bundle": Harness(bundle, seeds.bundles, mutators.json_value, 32768, runs=1500),
    "trust_store": Harness(trust_store, seeds.trust_stores, mutators.json_value, 16384),
    "toml_policy": Harness(toml_policy, seeds.toml_policies, mutators.plainly, 8192),
    "json_policy": Harness(json_policy, seeds.json_policies, mutators.json_value, 8192, runs=800),
    "ctp": Harness(ctp, seeds.packages, mutators.ctp, 65536, runs=600),
    "layer_tar": Harness(layer_tar, seeds.layer_tars, mutators.layer, 32768),
}
