"""Typed arguments of every operation in :mod:`vordr.model.operations`.

They survive JSON; times are µs since the epoch, sizes are bytes. Descriptors (standard streams, package
files) travel beside the arguments, never inside.
"""

from __future__ import annotations

import msgspec

from vordr.model.spec import NetworkMode, RestartPolicy


class Args(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Base of all arguments: unknown fields are refused."""


class CreateArgs(Args, frozen=True, kw_only=True):
    """``image`` is a reference, a manifest digest, or a .ctp path whose open file travels as descriptor 0.

    ``pull`` (never, missing, always): whether a reference may be fetched from its registry first.
    ``environment`` holds real values; the engine puts them into the secrets store before it journals.
    """

    image: str
    name: str | None = None
    command: tuple[str, ...] = ()
    entrypoint: tuple[str, ...] | None = None
    environment: dict[str, str] = {}
    workdir: str | None = None
    user: str | None = None
    hostname: str | None = None
    tty: bool = False
    stdin: bool = False
    read_only: bool = False
    init: bool = False
    memory: int | None = None
    cpu_millis: int | None = None
    pids_limit: int | None = None
    network: NetworkMode = NetworkMode.NONE
    restart: RestartPolicy = RestartPolicy()
    auto_remove: bool = False
    labels: dict[str, str] = {}
    stop_signal: str | None = None
    stop_timeout: int = 10
    pull: str = "missing"
    package: bool = False


class RunArgs(CreateArgs, frozen=True, kw_only=True):
    """As create, then start. With ``attach`` the answer carries a descriptor of the attach socket."""

    attach: bool = False


class ContainerArgs(Args, frozen=True, kw_only=True):
    """``container`` is a name, an id, or a unique beginning of an id."""

    container: str


class StartArgs(ContainerArgs, frozen=True, kw_only=True):
    attach: bool = False


class StopArgs(ContainerArgs, frozen=True, kw_only=True):
    """``timeout`` in seconds until SIGKILL; None takes the container's own."""

    timeout: int | None = None


class KillArgs(ContainerArgs, frozen=True, kw_only=True):
    """``signal`` by name or number; only KILL is a lifecycle step, others are delivered and recorded."""

    signal: str = "KILL"


class RemoveArgs(ContainerArgs, frozen=True, kw_only=True):
    force: bool = False


class ListArgs(Args, frozen=True, kw_only=True):
    """``all`` includes containers that are not running. ``filters`` as docker's: name, id, status, label,
    ancestor, exited; several values of one key are alternatives."""

    all: bool = False
    filters: dict[str, tuple[str, ...]] = {}


class LogsArgs(ContainerArgs, frozen=True, kw_only=True):
    """``tail`` lines from the end (None all), ``since`` µs. With ``follow`` lines come as events until the
    container ends or the caller goes; with ``events`` those that there are do, which suits logs of any size:
    an answer holds what fits into one message."""

    follow: bool = False
    events: bool = False
    tail: int | None = None
    since: int | None = None


class ExecArgs(ContainerArgs, frozen=True, kw_only=True):
    command: tuple[str, ...]
    environment: dict[str, str] = {}
    workdir: str | None = None
    user: str | None = None
    tty: bool = False
    stdin: bool = False
    detach: bool = False


class AttachArgs(ContainerArgs, frozen=True, kw_only=True):
    pass


class ResizeArgs(ContainerArgs, frozen=True, kw_only=True):
    """New terminal size of the container's process, or of exec session ``session``."""

    rows: int
    columns: int
    session: str | None = None


class WaitArgs(ContainerArgs, frozen=True, kw_only=True):
    """Wait until the process ended (``stopped``) or the container is gone (``removed``); or for an exec."""

    condition: str = "stopped"
    session: str | None = None


class ImagesArgs(Args, frozen=True, kw_only=True):
    pass


class PullArgs(Args, frozen=True, kw_only=True):
    """``reference`` as docker's; ``insecure`` allows plain http (loopback registries always may)."""

    reference: str
    insecure: bool = False


class ImageArgs(Args, frozen=True, kw_only=True):
    image: str


class RemoveImageArgs(ImageArgs, frozen=True, kw_only=True):
    force: bool = False


class PackArgs(Args, frozen=True, kw_only=True):
    """Pack ``source`` (OCI layout, oci or docker archive, rootfs folder; absolute path) into ``output``."""

    source: str
    output: str
    name: str
    passphrase: str | None = None
    entrypoint: tuple[str, ...] = ()
    command: tuple[str, ...] = ()


class AdoptArgs(ImageArgs, frozen=True, kw_only=True):
    """Attest an unsigned image: a reference in the store, or a path as for pack (then ``name`` names it).

    Where several must sign: ``draft`` (an absolute path) writes the bundle there and adopts nothing yet;
    ``bundle`` (likewise) adopts by that file, in which the others have signed meanwhile.
    """

    name: str | None = None
    passphrase: str | None = None
    draft: str | None = None
    bundle: str | None = None


class VerifyArgs(ImageArgs, frozen=True, kw_only=True):
    """``mode`` strict, permissive or audit; only strict can start anything, the others report. ``bundle``
    says that a bundle's file comes along, to be judged instead of the store's; with ``graph`` the answer
    tells who attested what."""

    mode: str = "strict"
    package: bool = False
    bundle: bool = False
    graph: bool = False


class AdmitArgs(Args, frozen=True, kw_only=True):
    """``chain`` is the ChainID of the layers that the container is made of. ``config`` and ``manifest`` are
    digests of its image, where the store of ``engine`` binds it to one; ``sandbox`` says that the caller's
    configuration pins it as a pause image, which needs no verdict."""

    engine: str
    container: str
    chain: str
    config: str | None = None
    manifest: str | None = None
    sandbox: bool = False


class GatherArgs(ImageArgs, frozen=True, kw_only=True):
    """``layout`` is an OCI layout folder to look in instead of the registries of the image's names."""

    layout: str | None = None
    insecure: bool = False


class TrustInitArgs(Args, frozen=True, kw_only=True):
    """``owner`` names who vouches in verdicts; a passphrase locks the signing key. ``suite`` is that of the
    signing key: CT-SIG-01, CT-SIG-02 or CT-SIG-04."""

    owner: str
    passphrase: str | None = None
    suite: str = "CT-SIG-01"


class TrustAddArgs(Args, frozen=True, kw_only=True):
    """Add a public key (PEM text) for ``role`` (builders, adopters…), valid from now."""

    public_key: str
    role: str
    owner: str
    valid_until: int | None = None


class TrustRevokeArgs(Args, frozen=True, kw_only=True):
    """``key`` is the beginning of a key's id; with ``digest`` the digest of an attestation or manifest."""

    key: str
    reason: str = "unspecified"
    digest: bool = False


class TrustUpdateArgs(Args, frozen=True, kw_only=True):
    """``document`` is the text of an update: a trust store in an envelope that its updaters signed."""

    document: str


class NoArgs(Args, frozen=True, kw_only=True):
    pass


class UndoArgs(Args, frozen=True, kw_only=True):
    """Which acts: ``txn``, or ``container`` with ``steps`` acts, or everything after record ``to``; with
    none of these the caller's newest act (``--last``) and ``steps`` of them."""

    txn: str | None = None
    container: str | None = None
    steps: int = 1
    to: int | None = None
    cascade: bool = False
    dry_run: bool = False


class RedoArgs(Args, frozen=True, kw_only=True):
    txn: str | None = None
    dry_run: bool = False


class HistoryArgs(Args, frozen=True, kw_only=True):
    """Acts newest first, at most ``limit``; of one container, or all; ``consequences`` shows exits and
    policy acts too."""

    container: str | None = None
    limit: int = 50
    consequences: bool = True


class AuditArgs(Args, frozen=True, kw_only=True):
    """Check the whole chain; with ``prove`` also the inclusion of that record, with ``consistency`` (a, b)
    that the tree of a records is a prefix of the tree of b; with ``model`` whether the proved model allows
    what the records tell."""

    model: bool = False
    prove: int | None = None
    consistency: tuple[int, int] | None = None


class TrashRestoreArgs(Args, frozen=True, kw_only=True):
    """``item`` is an id (or its beginning) or a name; ``name`` gives it another name where taken."""

    item: str
    name: str | None = None


class TrashEmptyArgs(Args, frozen=True, kw_only=True):
    """``items`` are ids (or their beginnings) or names; without any, what is past its deadline, or ``all``.
    """

    items: tuple[str, ...] = ()
    all: bool = False


class ExplainArgs(Args, frozen=True, kw_only=True):
    """A transaction, or None for the caller's newest."""

    txn: str | None = None
