"""Every way Vörðr refuses, once: class, error id, exit code, and what a person can do about it.

Ids and codes of the decades 0-7 are those of the Svalinn surface contract; ours take free numbers in
their decade (journal 40s, verification and policy 50s, undo 80s, supervision 90s). Libraries raise these;
only the CLI prints them and exits.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar


class VordrError(Exception):
    """Root of all refusals.

    ``message`` is one line: what is wrong and where. ``remedy`` is what mends it, a command where one
    exists. ``details`` is evidence, JSON-safe (str, int, bool, lists and dicts of these).
    """

    id: ClassVar[str] = "ERR_GENERAL"
    exit_code: ClassVar[int] = 1
    default_remedy: ClassVar[str | None] = None

    def __init__(
        self,
        message: str,
        *,
        remedy: str | None = None,
        details: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.remedy = remedy if remedy is not None else self.default_remedy
        self.details: dict[str, Any] = dict(details or {})

    def __str__(self) -> str:
        return self.message

    def to_wire(self) -> dict[str, Any]:
        """The error as the ``error`` object of Svalinn's error-response.v1 (JSON-safe)."""
        return {
            "code": self.exit_code,
            "id": self.id,
            "message": self.message,
            "details": {"type": type(self).__name__, **self.details},
            "suggestions": [self.remedy] if self.remedy else [],
        }


class UsageError(VordrError):
    """The request itself makes no sense: unknown option, malformed value."""

    id, exit_code = "ERR_USAGE", 2


# -- 10: running processes -------------------------------------------------------------------------


class RuntimeFailed(VordrError):
    """The OCI runtime, conmon or the kernel refused an effect."""

    id, exit_code = "ERR_RUNTIME", 10
    default_remedy = "vordr doctor"


class RuntimeNotFound(VordrError):
    """A program that containers need is not installed."""

    id, exit_code = "ERR_RUNTIME_NOT_FOUND", 11
    default_remedy = "vordr doctor"


class ExecFailed(VordrError):
    """A command could not be executed inside a container (126: found, not executable)."""

    id, exit_code = "ERR_RUNTIME_EXEC", 126


class CommandNotFound(ExecFailed):
    """The command does not exist inside the container."""

    id, exit_code = "ERR_RUNTIME_EXEC", 127


class NotPrivileged(VordrError):
    """The engine needs root (or the service's socket) and the caller has neither."""

    id, exit_code = "ERR_PRIVILEGE", 13
    default_remedy = "sudo vordr …, or ask an administrator to add you to group vordr"


class ServiceUnreachable(VordrError):
    """No service answers on the root folder's socket and none could be started."""

    id, exit_code = "ERR_SERVICE_UNREACHABLE", 14
    default_remedy = "vordr serve"


# -- 20: networks ----------------------------------------------------------------------------------


class NetworkFailed(VordrError):
    id, exit_code = "ERR_NETWORK", 20


# -- 30: registries and images ---------------------------------------------------------------------


class RegistryFailed(VordrError):
    id, exit_code = "ERR_REGISTRY", 30


class RegistryDenied(VordrError):
    id, exit_code = "ERR_AUTH", 31
    default_remedy = "put the registry's credentials into containers-auth.json (skopeo login REGISTRY)"


class ImageNotFound(VordrError):
    id, exit_code = "ERR_IMAGE_NOT_FOUND", 32
    default_remedy = "vordr images"


class PullFailed(VordrError):
    id, exit_code = "ERR_PULL", 33


class ImageUnreadable(VordrError):
    """An image or package is not what its format says (truncated, traversal, wrong digest…)."""

    id, exit_code = "ERR_IMAGE_UNREADABLE", 34


class ImageInUse(VordrError):
    id, exit_code = "ERR_IMAGE_IN_USE", 35


class LayerSpaceExhausted(VordrError):
    """The disk that holds layers and writable layers is full."""

    id, exit_code = "ERR_STORAGE_FULL", 36
    default_remedy = "free space below the root folder (vordr trash ls shows what waits there)"


# -- 40: journal and state -------------------------------------------------------------------------


class StateError(VordrError):
    id, exit_code = "ERR_STATE", 40


class JournalCorrupt(VordrError):
    """The journal or its signed head does not hold together."""

    id, exit_code = "ERR_STATE_CORRUPT", 41
    default_remedy = "vordr audit --chain"


class StateLocked(VordrError):
    """Another process owns this root folder."""

    id, exit_code = "ERR_STATE_LOCKED", 42


class SubjectBusy(VordrError):
    """Another transaction holds the container or image."""

    id, exit_code = "ERR_STATE_BUSY", 43
    default_remedy = "try again; vordr history shows what is running"


class StaleState(VordrError):
    """Compare-and-append failed: the world moved between plan and begin."""

    id, exit_code = "ERR_STATE_STALE", 44
    default_remedy = "try again"


class JournalFull(VordrError):
    """The disk that holds the journal is full: new acts are refused, open ones may finish."""

    id, exit_code = "ERR_JOURNAL_FULL", 45
    default_remedy = "free space on the disk that holds the journal"


class JournalStopped(VordrError):
    """The journal can no longer make records durable (fsync failed); nothing may act any more."""

    id, exit_code = "ERR_JOURNAL_STOPPED", 46
    default_remedy = "check the disk, then start the service again"


# -- 50: verification and policy -------------------------------------------------------------------


class PolicyError(VordrError):
    id, exit_code = "ERR_POLICY", 50


class PolicyDenied(VordrError):
    """The caller's scope or the operator's policy does not allow this."""

    id, exit_code = "ERR_POLICY_DENIED", 51


class VerificationRejected(PolicyDenied):
    """The gatekeeper refused; ``details['code']`` is verified-container-spec's code.

    ``step`` is the number of the spec's verification step that failed.
    """

    default_remedy = "vordr verify IMAGE"

    def __init__(
        self, code: str, message: str, *, step: int, remedy: str | None = None,
        details: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__(message, remedy=remedy, details={"code": code, "step": step, **(details or {})})
        self.code = code
        self.step = step


class SealBroken(VordrError):
    """A sealed layer is not the bytes that were verified."""

    id, exit_code = "ERR_SEAL_BROKEN", 52


class TrustStoreInvalid(VordrError):
    """The trust store is missing, unreadable or breaks a rule."""

    id, exit_code = "ERR_TRUST_STORE", 53
    default_remedy = "vordr trust show"


class TrustStoreMissing(TrustStoreInvalid):
    default_remedy = "vordr trust init"


class KeyUnusable(VordrError):
    """A private key file is missing, locked, damaged, or readable by others."""

    id, exit_code = "ERR_KEY", 54


class VerdictsLapsed(VordrError):
    """Containers run, or are held ready, that could not be started now: an audit found it."""

    id, exit_code = "ERR_VERDICTS_LAPSED", 55
    default_remedy = "vordr audit --verdicts"


# -- 60: configuration -----------------------------------------------------------------------------


class ConfigError(VordrError):
    id, exit_code = "ERR_CONFIG", 60


class ConfigUnparsable(VordrError):
    id, exit_code = "ERR_CONFIG_PARSE", 61


class ConfigInvalid(VordrError):
    id, exit_code = "ERR_CONFIG_INVALID", 62


# -- 70: containers --------------------------------------------------------------------------------


class ContainerError(VordrError):
    id, exit_code = "ERR_CONTAINER", 70


class ContainerNotFound(VordrError):
    id, exit_code = "ERR_CONTAINER_NOT_FOUND", 71
    default_remedy = "vordr ps -a"


class IllegalTransition(VordrError):
    """The lifecycle table does not allow this operation in this state. Nothing was journalled."""

    id, exit_code = "ERR_ILLEGAL_TRANSITION", 74


class ContainerRunning(IllegalTransition):
    id, exit_code = "ERR_CONTAINER_RUNNING", 72


class ContainerStopped(IllegalTransition):
    id, exit_code = "ERR_CONTAINER_STOPPED", 73


class NameInUse(VordrError):
    id, exit_code = "ERR_NAME_IN_USE", 75


# -- 80: undo --------------------------------------------------------------------------------------


class UndoError(VordrError):
    id, exit_code = "ERR_UNDO", 80


class NothingToUndo(UndoError):
    id, exit_code = "ERR_UNDO_NOTHING", 81
    default_remedy = "vordr history"


class UndoBlocked(UndoError):
    """Later live acts, or holders of released names, stand in the way."""

    id, exit_code = "ERR_UNDO_BLOCKED", 82


class UndoPartial(UndoError):
    """The undo ran, but the state it reached is not the journalled one."""

    id, exit_code = "ERR_UNDO_PARTIAL", 83


class UndoExpired(UndoError):
    """What the undo needs has left the trash."""

    id, exit_code = "ERR_UNDO_EXPIRED", 84


# -- 90: supervision -------------------------------------------------------------------------------


class SupervisionError(VordrError):
    id, exit_code = "ERR_SUPERVISION", 90


class ActorDead(SupervisionError):
    """The actor behind a handle is not running."""

    id, exit_code = "ERR_ACTOR_DEAD", 91


class DeadlineExceeded(SupervisionError):
    """An ask was not answered within its deadline."""

    id, exit_code = "ERR_DEADLINE", 92


class InboxFull(SupervisionError):
    """A bounded inbox is full; the sender must slow down."""

    id, exit_code = "ERR_INBOX_FULL", 93


class Parked(SupervisionError):
    """The subject failed too often and waits for an operator."""

    id, exit_code = "ERR_PARKED", 94


class StartFailed(SupervisionError):
    """A supervisor's child could not be started."""

    id, exit_code = "ERR_CHILD_START", 95


class Fenced(SupervisionError):
    """The sender outlived its shutdown and was abandoned: nothing it sends is accepted any more."""

    id, exit_code = "ERR_FENCED", 96


def every_error() -> list[type[VordrError]]:
    """All error classes, the root first, in order of declaration."""
    found: list[type[VordrError]] = []

    def walk(cls: type[VordrError]) -> None:
        found.append(cls)
        for sub in cls.__subclasses__():
            walk(sub)

    walk(VordrError)
    return found


_BY_NAME: dict[str, type[VordrError]] = {}


def from_wire(error: Mapping[str, Any]) -> VordrError:
    """Rebuild an error from :meth:`VordrError.to_wire`; an unknown type becomes the root class."""
    if not _BY_NAME:
        _BY_NAME.update({cls.__name__: cls for cls in every_error()})
    details = dict(error.get("details") or {})
    cls = _BY_NAME.get(str(details.pop("type", "")), VordrError)
    suggestions = error.get("suggestions") or []
    message = str(error.get("message", ""))
    remedy = str(suggestions[0]) if suggestions else None
    rebuilt: VordrError
    if issubclass(cls, VerificationRejected):
        code, step = str(details.pop("code", "")), int(details.pop("step", 0))
        rebuilt = cls(code, message, step=step, details=details)
    else:
        rebuilt = cls(message, details=details)
    rebuilt.remedy = remedy
    return rebuilt
