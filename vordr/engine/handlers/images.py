"""Handlers of the operations on images, packages and trust."""

from __future__ import annotations

import os
import shlex
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec

from vordr.actors.stores import Made, Work
from vordr.actors.transaction import Finished, Plan
from vordr.engine import beside
from vordr.engine.finding import all_containers, all_images, find_image, full_name, image_by_digest
from vordr.engine.handlers.origins import Source
from vordr.engine.host import Call, Host, receipt
from vordr.engine.intake import bring_in, pull_image
from vordr.engine.library import Incoming, Planned, shown, subject_of
from vordr.engine.protocol import Reply, is_package
from vordr.formats.digests import sha256_digest
from vordr.formats.uuid7 import uuid7
from vordr.gatekeeper.adopt import attest
from vordr.gatekeeper.bundle import LARGEST_BUNDLE
from vordr.gatekeeper.checked import CheckedStream
from vordr.gatekeeper.evidence import Beside
from vordr.gatekeeper.keys import OPERATOR, KeyRing
from vordr.gatekeeper.logs import logs_of
from vordr.gatekeeper.outfile import whole_or_absent
from vordr.gatekeeper.pack import pack as pack_layout
from vordr.gatekeeper.subject import LARGEST_DOCUMENT
from vordr.images.local_layout import import_layout, open_layout, read_file
from vordr.images.rootfs_tar import DEFAULT_CONFIG
from vordr.model import answers, arguments
from vordr.model.errors import ImageInUse, StateError, UsageError, VerificationRejected
from vordr.model.records import Step, head_key
from vordr.model.state import ImageConfig, ImageState
from vordr.model.verdict import Verdict


def images(host: Host, call: Call, args: arguments.ImagesArgs) -> Reply:
    found = sorted(all_images(host.journal), key=lambda image: image.imported, reverse=True)
    return Reply(answers.ImagesAnswer(images=tuple(found)))


def pull(host: Host, call: Call, args: arguments.PullArgs) -> Reply:
    manifest, finished = pull_image(host, call, args.reference, insecure=args.insecure)
    return _image_answer(host, manifest, finished)


def _image_answer(host: Host, manifest: str, finished: Finished) -> Reply:
    image = image_by_digest(host.journal, manifest)
    return Reply(answers.ImageAnswer(image=image, receipt=receipt(finished)))


def remove_image(host: Host, call: Call, args: arguments.RemoveImageArgs) -> Reply:
    image = find_image(host.journal, args.image)
    subject = f"image/{image.manifest}"

    def plan() -> Plan:
        # Every create journals a verdict on the image: one that begins after this look makes it stale.
        head = host.journal.get(head_key(subject))
        users = [c.name for c in all_containers(host.journal) if c.image == image.manifest]
        if users:
            raise ImageInUse(
                f"image {shown(image)} is in use by {len(users)} containers: {', '.join(users[:5])}",
                remedy=f"vordr rm {' '.join(users[:5])}", details={"containers": users})
        step = Step(subject=subject, operation="unimport")
        return Plan("remove_image", f"remove image {shown(image)}", (step,), call.caller.principal,
                    conditions={head_key(subject): head})

    finished = host.transactions.run(plan)
    return Reply(answers.ImageAnswer(image=image, receipt=receipt(finished)))


# -- packing and adopting --------------------------------------------------------------------------


def pack(host: Host, call: Call, args: arguments.PackArgs) -> Reply:
    """Make and sign a package. It is a file of the caller's: recorded, and not undone."""
    trusted = host.gatekeeper.trusted()
    full_name(args.name)
    signer = KeyRing(host.paths).load(OPERATOR, args.passphrase)
    logs = logs_of(host.paths, trusted.store)
    made: list[Any] = []
    began = host.now_us()
    invocation = uuid7(began // 1000, os.urandom(10))

    def work() -> Made:
        with tempfile.TemporaryDirectory(prefix=".pack-", dir=host.paths.root) as folder:
            source = Source.look(Path(args.source), call.progress)
            layout, manifest = open_layout(
                Path(args.source), Path(folder), call.progress, config=_config(args))
            made.append(pack_layout(
                layout, manifest, Path(args.output), signers=[signer], logs=logs, source=args.source,
                name=args.name, now_us=began, progress=call.progress, clock=host.now_us,
                origin=source.origin(args, invocation)))
        return Made(result={"manifest": made[0].manifest})

    told = {"source": args.source, "output": args.output, "name": args.name, "invocation": invocation}
    finished = work_once(
        host, call, "pack", f"pack {args.name} into {args.output}", "engine/pack", told, work)
    packed = made[0]
    return Reply(answers.PackAnswer(
        output=str(packed.path), manifest=packed.manifest, bundle=sha256_digest(packed.bundle),
        size=os.stat(packed.path).st_size, receipt=receipt(finished)))


def _config(args: arguments.PackArgs) -> ImageConfig:
    """What the image of a root folder runs; other sources have a config of their own."""
    if not args.command and not args.entrypoint:
        return DEFAULT_CONFIG
    return msgspec.structs.replace(DEFAULT_CONFIG, entrypoint=args.entrypoint, command=args.command)


def work_once(
    host: Host, call: Call, act: str, summary: str, subject: str, args: dict[str, Any], work: Work
) -> Finished:
    """A transaction of one step that has no inverse."""
    step = Step(subject=subject, operation=act, args=args)
    plan = Plan(
        act, summary, (step,), call.caller.principal, reversible=False,
        payload={f"{act} {subject}": work})
    return host.transactions.run(lambda: plan)


def adopt(host: Host, call: Call, args: arguments.AdoptArgs) -> Reply:
    """Vouch for an image with the operator's own key: one in the store, or one read from a path."""
    if args.draft is not None and args.bundle is not None:
        raise UsageError("a draft is written or a bundle is taken, not both at once")
    if is_package(args.image) or args.image.startswith("/"):
        return _adopt_path(host, call, args)
    image = find_image(host.journal, args.image)
    return _adopt_stored(host, call, args, image, args.image)


def _adopt_path(host: Host, call: Call, args: arguments.AdoptArgs) -> Reply:
    """One act: the image comes in vouched for. Whose adoption is drafted comes in first, unverified."""
    if args.name is None:
        raise UsageError("an image adopted from a path needs a name", remedy="vordr adopt --name NAME PATH")
    with host.library.coming.shared():
        with tempfile.TemporaryDirectory(prefix=".adopt-", dir=host.paths.root) as folder:
            layout, manifest = open_layout(Path(args.image), Path(folder), call.progress)
            contents = import_layout(layout, manifest, host.store, call.progress)
        known = host.library.known(manifest)
        if known is not None:
            return _adopt_stored(host, call, args, known, args.image)
        image = host.library.describe(contents, (args.name,), None, None)
        if args.draft is None:
            return _adopt_coming(host, call, args, image)
        incoming = Incoming(image, lambda: host.library.import_steps(image, Made))
        bring_in(host, call, incoming, f"import {shown(image)}")
    return _adopt_stored(host, call, args, image_by_digest(host.journal, manifest), args.image)


def _adopt_coming(host: Host, call: Call, args: arguments.AdoptArgs, image: ImageState) -> Reply:
    """Bring an image in whose blobs are in the store by now, with the bundle by which it may start."""
    bundle = _bundle(host, call, args, image, image.names[0], args.image)

    def plan() -> Plan:
        if host.library.known(image.manifest) is not None:
            raise StateError(f"{shown(image)} has just come in by another's act", remedy="adopt it again")
        names = beside.names_of(image, *host.library.names_in_trash(image.manifest))
        verdict = _judge(host, args, image, bundle, Beside(names))
        whole = msgspec.structs.replace(
            image, bundle=sha256_digest(bundle), origin=verdict.origin, attested_by=verdict.attested_by)

        def work() -> Made:
            host.library.keep_bundle(bundle)
            return Made(seals=host.library.seal(whole, call.progress))

        return _adoption(host, call, image, host.library.import_steps(whole, work), verdict)

    with host.library.naming(image.names):
        return _image_answer(host, image.manifest, host.transactions.run(plan))


def _adoption(host: Host, call: Call, image: ImageState, planned: Planned, verdict: Verdict) -> Plan:
    return Plan("adopt", f"adopt {shown(image)}", planned.steps, call.caller.principal, payload=planned.work,
                verdicts={image.manifest: verdict}, conditions=planned.read)


def _adopt_stored(
    host: Host, call: Call, args: arguments.AdoptArgs, image: ImageState, source: str
) -> Reply:
    name = () if args.name is None else (full_name(args.name),)
    called = next(iter((*name, *image.names)), image.manifest)
    bundle = _bundle(host, call, args, image, called, source)
    if args.draft is not None:
        return _draft(host, call, args, image, bundle)

    def plan() -> Plan:
        now = image_by_digest(host.journal, image.manifest)
        names = tuple(dict.fromkeys((*name, *now.names)))
        known = replace(beside.read(host.paths, now), names=beside.names_of(now, *names))
        verdict = _judge(host, args, now, bundle, known)
        planned = host.library.attest_steps(
            now, names=names, bundle=bundle, origin=verdict.origin, attested_by=verdict.attested_by,
            progress=call.progress)
        return _adoption(host, call, now, planned, verdict)

    with host.library.naming(name):
        return _image_answer(host, image.manifest, host.transactions.run(plan))


def _judge(
    host: Host, args: arguments.AdoptArgs, image: ImageState, bundle: bytes, known: Beside
) -> Verdict:
    """The verdict on what would be adopted. Where more must sign, the refusal says how they do."""
    try:
        return host.gatekeeper.judge(subject_of(image), bundle, known)
    except VerificationRejected as refusal:
        if refusal.code == "THRESHOLD_NOT_MET":
            refusal.remedy = _let_others_sign(args)
        raise


def _let_others_sign(args: arguments.AdoptArgs) -> str:
    if args.bundle is not None:
        return f"vordr sign {shlex.quote(args.bundle)} (by each who must sign), then adopt by it again"
    name = () if args.name is None else ("--name", args.name)
    draft = shlex.join(("vordr", "adopt", "--draft", "FILE", *name, args.image))
    then = shlex.join(("vordr", "adopt", "--bundle", "FILE", args.name or args.image))
    return f"{draft} (then 'vordr sign FILE' by each who must sign, and '{then}')"


def _bundle(
    host: Host, call: Call, args: arguments.AdoptArgs, image: ImageState, name: str, source: str
) -> bytes:
    """The bundle that was given, or the operator's own."""
    if args.bundle is not None:
        return read_file(Path(args.bundle), LARGEST_BUNDLE)
    return _vouch(host, call, args, image, name, source)


def _vouch(
    host: Host, call: Call, args: arguments.AdoptArgs, image: ImageState, name: str, source: str
) -> bytes:
    """The operator's own bundle on an image, in her logs."""
    trusted = host.gatekeeper.trusted()
    signer = KeyRing(host.paths).load(OPERATOR, args.passphrase)
    call.progress("attest", 0, None)
    return attest(
        host.store.read(image.manifest, LARGEST_DOCUMENT),
        host.store.read(image.config_digest, LARGEST_DOCUMENT),
        name=name, source=source, signers=[signer], logs=logs_of(host.paths, trusted.store),
        now_us=host.now_us(), open_blob=_opener(host), clock=host.now_us)


def _draft(
    host: Host, call: Call, args: arguments.AdoptArgs, image: ImageState, bundle: bytes
) -> Reply:
    """Write the bundle for others to sign. A file of the caller's, as a package is."""
    assert args.draft is not None
    place = Path(args.draft)

    def work() -> Made:
        with whole_or_absent(place) as file:
            file.write(bundle)
        return Made(result={"bundle": sha256_digest(bundle)})

    finished = work_once(host, call, "draft_adoption", f"draft the adoption of {shown(image)} into {place}",
                         "engine/draft", {"manifest": image.manifest, "output": args.draft}, work)
    return Reply(answers.ImageAnswer(image=image, receipt=receipt(finished)))


def _opener(host: Host) -> Any:
    def open_blob(digest: str, size: int | None = None) -> CheckedStream:
        file = os.fdopen(host.store.open(digest), "rb")
        return CheckedStream(file, digest, os.fstat(file.fileno()).st_size if size is None else size, digest)

    return open_blob
