"""The images the engine knows: their subjects, bundles and verdicts, and how they come in."""

from __future__ import annotations

import contextlib
import fcntl
import os
import stat
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final

import msgspec

from vordr.actors.gatekeeper import GatekeeperClient
from vordr.actors.stores import Made, Work
from vordr.actors.transaction import PATIENCE
from vordr.engine import beside
from vordr.engine.finding import all_images, full_name, image_by_digest
from vordr.engine.locks import KeyedLock, SharedLock
from vordr.formats import reference
from vordr.formats.digests import sha256_digest
from vordr.formats.typed import convert
from vordr.gatekeeper import durable
from vordr.gatekeeper.evidence import Beside
from vordr.gatekeeper.package import CtpReader, open_ctp
from vordr.gatekeeper.subject import LARGEST_DOCUMENT, Subject
from vordr.images.layout import ImageContents, parse_image
from vordr.images.seal import seal_layer
from vordr.images.store import ImageStore
from vordr.model.errors import ImageUnreadable, StaleState, SubjectBusy, VerificationRejected
from vordr.model.paths import Paths
from vordr.model.progress import Progress, silent
from vordr.model.records import Step, image_key, trash_key
from vordr.model.state import ImageState, Seal, TrashItem
from vordr.model.verdict import Verdict

_MOST_REMEMBERED: Final = 64
"""Packages whose small members are kept in memory."""
_LARGEST_REMEMBERED: Final = 1 << 20
"""Bytes of the bundle of one of them."""


@dataclass(frozen=True)
class Planned:
    """Steps, their work by ``operation subject``, and the images that they were made from: conditions."""

    steps: tuple[Step, ...] = ()
    work: Mapping[str, Work] = field(default_factory=dict)
    read: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Incoming:
    """An image that is about to come in: its state to be (no seals yet).

    ``steps`` gives what must happen now, with its work: nothing when the store has it as it is. ``judge``
    gives the verdict as trust stands now; None for an image that nobody vouches for yet. Both are asked
    again when the world moved before the begin.
    """

    image: ImageState
    steps: Callable[[], Planned]
    judge: Callable[[], Verdict] | None = None


class Library:
    """See the module. Reads the projection; changes nothing itself."""

    def __init__(
        self, paths: Paths, journal: Any, gatekeeper: GatekeeperClient, store: ImageStore,
        now_us: Callable[[], int],
    ) -> None:
        self.paths = paths
        self.journal = journal
        self.gatekeeper = gatekeeper
        self.store = store
        self.now_us = now_us
        self.coming = SharedLock()
        """Shared from before the first blob of an image is looked for until the image is on record; had alone
        while blobs go for good."""
        self._naming = KeyedLock()
        self._packages: dict[tuple[int, ...], CtpReader] = {}

    # -- verdicts ----------------------------------------------------------------------------------

    def bundle(self, image: ImageState) -> bytes | None:
        """The bundle's bytes, compared with the digest that the projection holds; None: never attested."""
        if image.bundle is None:
            return None
        try:
            raw = self.paths.bundle(image.bundle).read_bytes()
        except OSError as error:
            raise VerificationRejected(
                "MISSING_ATTESTATION", f"the bundle of {shown(image)} cannot be read: {error.strerror}",
                step=2, remedy="run the .ctp again, or vordr adopt") from error
        if sha256_digest(raw) != image.bundle:
            raise VerificationRejected(
                "MALFORMED_BUNDLE", f"the stored bundle of {shown(image)} is not the one that was verified",
                step=3, remedy="run the .ctp again, or vordr adopt")
        return raw

    def judge(self, image: ImageState) -> Verdict:
        """The verdict on an image of the store; raises VerificationRejected, PolicyDenied."""
        return self.gatekeeper.judge(subject_of(image), self.bundle(image), beside.read(self.paths, image))

    def judge_manifest(self, manifest: str) -> Verdict:
        return self.judge(image_by_digest(self.journal, manifest))

    # -- packages ----------------------------------------------------------------------------------

    def open_package(self, fd: int, label: str, progress: Progress = silent) -> Incoming:
        """Verify the package behind ``fd`` and say what must happen for it to be in the store.

        Every byte of the package is read and compared, before anything is begun or while it is copied.
        Raises ImageUnreadable, VerificationRejected, PolicyDenied.
        """
        stamp = _stamp(fd)
        seen = self._packages.get(stamp)
        if seen is not None and self.known(seen.subject.manifest) is None:
            seen = None  # its blobs are wanted again
        reader = seen or _reader(fd)
        verdict = self._judge_package(reader)
        reader.verify_release(self.gatekeeper.trusted().store, self.now_us())
        image = self._image_of(reader, verdict)
        # Of a package that was read before nothing is left to copy from: it is opened again.
        work = self._copying((lambda: reader) if seen is None else (lambda: _reader(fd)), image, progress)

        def steps() -> Planned:
            known = self.known(image.manifest)
            if known is None:
                return self.import_steps(image, work)
            return self._describe_steps(known, image, reader.bundle)

        if seen is None and self.known(image.manifest) is not None:
            for _, _, stream in reader.blobs(progress):
                stream.drain()
            self._remember(stamp, reader)
        return Incoming(image, steps, lambda: self._judge_package(reader))

    def beside_package(self, reader: CtpReader) -> Beside:
        """What is known of a package's image beside its bundle: its own name, and what the store has."""
        known, own = self.known(reader.subject.manifest), full_name(reader.label.name)
        if known is None:
            return Beside((own,))
        found = beside.read(self.paths, known)
        return replace(found, names=beside.names_of(known, own))

    def _judge_package(self, reader: CtpReader) -> Verdict:
        return self.gatekeeper.judge(reader.subject, reader.bundle, self.beside_package(reader))

    def _remember(self, stamp: tuple[int, ...], reader: CtpReader) -> None:
        """Every byte of the package behind ``stamp`` was read: next time only its verdict is asked again."""
        if len(reader.bundle) > _LARGEST_REMEMBERED:
            return
        if len(self._packages) >= _MOST_REMEMBERED:
            self._packages.clear()
        self._packages[stamp] = reader

    def _image_of(self, reader: CtpReader, verdict: Verdict) -> ImageState:
        documents = {reader.subject.manifest: reader.manifest, reader.subject.config: reader.config}
        contents = parse_image(documents.__getitem__, reader.subject.manifest)
        return self.describe(contents, (reader.label.name,), sha256_digest(reader.bundle), verdict)

    def describe(
        self, contents: ImageContents, names: tuple[str, ...], bundle: str | None, verdict: Verdict | None
    ) -> ImageState:
        """The state of an image with these contents."""
        return ImageState(
            manifest=contents.manifest, config_digest=contents.config_digest,
            names=tuple(full_name(name) for name in names), layers=contents.layers, seals=(),
            config=contents.config, bundle=bundle, imported=0,
            origin="unverified" if verdict is None else verdict.origin,
            attested_by="" if verdict is None else verdict.attested_by)

    def known(self, manifest: str) -> ImageState | None:
        """The image of the store with this manifest digest; None: there is none."""
        value = self.journal.get(f"images/{manifest}")
        return None if value is None else convert(value, ImageState)

    def names_in_trash(self, manifest: str) -> tuple[str, ...]:
        """The names by which the image was known that lies in the trash, if it does."""
        value = self.journal.get(trash_key(manifest))
        image = None if value is None else convert(value, TrashItem).image
        return () if image is None else (*image.names, *image.known_as)

    def _copying(self, package: Callable[[], CtpReader], image: ImageState, progress: Progress) -> Work:
        def work() -> Made:
            reader = package()
            if reader.subject.manifest != image.manifest:
                raise ImageUnreadable("the package was changed while it was read", remedy="run it again")
            for digest, size, stream in reader.blobs(progress, "copy"):
                self.store.add(stream, digest, size)
            self.keep_bundle(reader.bundle)
            return Made(seals=self.seal(image, progress))

        return work

    # -- steps -------------------------------------------------------------------------------------

    @contextlib.contextmanager
    def naming(self, names: Iterable[str]) -> Iterator[None]:
        """Held by an act that gives an image ``names``, from its plan to its commit: two that had one name
        to give would each find it free. Raises SubjectBusy when another act gives one of them for long."""
        with contextlib.ExitStack() as stack:
            try:
                stack.enter_context(self._naming.held(names, PATIENCE))
            except TimeoutError:
                raise SubjectBusy(
                    f"another act gives an image a name of {', '.join(names)}", remedy="try again") from None
            yield

    def import_steps(self, image: ImageState, work: Work) -> Planned:
        """Steps that bring ``image`` in, taking its names from those that have them, and their work."""
        known = self.known(image.manifest)
        if known is not None:
            return self.change_steps(known, more_names(known, image), Made)
        step = Step(
            subject=f"image/{image.manifest}", operation="import", args={"image": msgspec.to_builtins(image)})
        return self._planned(image, step, work, {image_key(image.manifest): None})

    def attest_steps(
        self, image: ImageState, *, names: tuple[str, ...], bundle: bytes, origin: str, attested_by: str,
        progress: Progress = silent,
    ) -> Planned:
        """Steps that give an image of the store another bundle, and seal it where it was not."""
        def work() -> Made:
            self.keep_bundle(bundle)
            return Made(seals=self.seal(image, progress))

        return self.change_steps(image, {
            "names": list(names), "bundle": sha256_digest(bundle), "origin": origin,
            "attested_by": attested_by}, work)

    def change_steps(self, image: ImageState, changes: dict[str, Any], work: Work) -> Planned:
        """Steps that give an image of the store other names, evidence, or another bundle; none for none.

        Raises StaleState when ``image`` is not what the store has.
        """
        if not changes:
            return Planned()
        key = image_key(image.manifest)
        value = self.journal.get(key)
        if value is None or convert(value, ImageState) != image:
            raise StaleState(f"{shown(image)} was changed by another act", remedy="try again")
        renamed = msgspec.structs.replace(image, names=tuple(changes.get("names", image.names)))
        step = Step(subject=f"image/{image.manifest}", operation="describe", args=changes)
        return self._planned(renamed, step, work, {key: value})

    def _planned(self, image: ImageState, step: Step, work: Work, read: dict[str, Any]) -> Planned:
        """``step``, after those that take the names of ``image`` from others."""
        steps = []
        for key, value in self.journal.scan("images/"):
            other = convert(value, ImageState)
            if other.manifest != image.manifest and set(other.names) & set(image.names):
                left = [name for name in other.names if name not in image.names]
                steps.append(Step(
                    subject=f"image/{other.manifest}", operation="describe", args={"names": left}))
                read[key] = value
        return Planned((*steps, step), {f"{step.operation} {step.subject}": work}, read)

    def _describe_steps(self, known: ImageState, image: ImageState, bundle: bytes) -> Planned:
        more = more_names(known, image)
        if not more and known.bundle == image.bundle and known.seals:
            return Planned()
        return self.attest_steps(
            known, names=tuple(more.get("names", known.names)), bundle=bundle, origin=image.origin,
            attested_by=image.attested_by)

    # -- effects of those steps ----------------------------------------------------------------------

    def keep_bundle(self, bundle: bytes) -> None:
        path = self.paths.bundle(sha256_digest(bundle))
        if not path.exists():
            path.parent.mkdir(mode=0o700, exist_ok=True)
            durable.replace(path, bundle)

    def seal(self, image: ImageState, progress: Progress = silent) -> tuple[Seal, ...]:
        """Seal every layer, once per diffID; layers that another image has sealed are taken over."""
        known = {seal.diff_id: seal for other in all_images(self.journal) for seal in other.seals}
        return tuple(
            seal_layer(self.store, layer, self.paths, progress, known=known.get(layer.diff_id))
            for layer in image.layers)

    def sharing(self, diff_id: str, but: str) -> list[str]:
        """Manifest digests of the images, other than ``but``, that have the layer ``diff_id`` sealed."""
        return [
            image.manifest for image in all_images(self.journal)
            if image.manifest != but and any(seal.diff_id == diff_id for seal in image.seals)]

    def read_contents(self, manifest: str) -> ImageContents:
        """The contents of an image whose blobs are in the store."""
        return parse_image(lambda digest: self.store.read(digest, LARGEST_DOCUMENT), manifest)


def more_names(known: ImageState, image: ImageState) -> dict[str, Any]:
    """The change that gives ``known`` the names of ``image`` too, if it lacks any."""
    more = [name for name in image.names if name not in known.names]
    return {"names": [*known.names, *more]} if more else {}


def subject_of(image: ImageState) -> Subject:
    return Subject(
        image.manifest, image.config_digest, tuple((layer.blob, layer.diff_id) for layer in image.layers))


def shown(image: ImageState) -> str:
    """What a person calls it: the short form of its first name, else the beginning of its digest."""
    return reference.parse(image.names[0]).familiar() if image.names else image.manifest[:19]


def check_file(fd: int) -> os.stat_result:
    """What ``fstat`` says of a package's descriptor; raises ImageUnreadable when it is no file that
    can be read, or empty."""
    found = os.fstat(fd)
    flags = fcntl.fcntl(fd, fcntl.F_GETFL)
    readable = flags & os.O_ACCMODE != os.O_WRONLY and not flags & os.O_PATH
    if not readable or not stat.S_ISREG(found.st_mode):
        raise ImageUnreadable("the package is not a file", remedy="vordr pack SOURCE OUTPUT.ctp")
    if not found.st_size:
        raise ImageUnreadable("the package is empty", remedy="vordr pack SOURCE OUTPUT.ctp")
    return found


def _reader(fd: int) -> CtpReader:
    os.lseek(fd, 0, os.SEEK_SET)
    return open_ctp(fd)


def _stamp(fd: int) -> tuple[int, ...]:
    found = check_file(fd)
    return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns
