"""THE operation registry: every door's operations, typed, once.

Socket methods, library methods, CLI commands, docs and property tests read :data:`REGISTRY`.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from vordr.model import answers as out
from vordr.model import arguments as take
from vordr.model.lifecycle import Op


class Scope(StrEnum):
    """What a caller must hold: read-only, ordinary work, or the power to widen what may run."""

    READ = "read"
    OPERATE = "operate"
    ADMIN = "admin"


@dataclass(frozen=True)
class Operation:
    """One row: ``inverse`` is what undoes it in words (None: cannot be undone, or needs no undo).

    ``events`` operations send progress or log lines while they work; ``takes_file`` ones accept a
    descriptor; ``gives_file`` ones may answer with one.
    """

    name: str
    args: type[take.Args]
    answer: type[out.Answer]
    scope: Scope
    help: str
    mutating: bool = False
    inverse: str | None = None
    events: bool = False
    takes_file: bool = False
    gives_file: bool = False


_op = Operation
_READ, _OPERATE, _ADMIN = Scope.READ, Scope.OPERATE, Scope.ADMIN

REGISTRY: Final[dict[str, Operation]] = {op.name: op for op in (
    _op("create", take.CreateArgs, out.ContainerAnswer, _OPERATE, "Make a container from a verified image",
        mutating=True, inverse=str(Op.UNCREATE), events=True, takes_file=True),
    _op("run", take.RunArgs, out.ContainerAnswer, _OPERATE, "Create and start a container",
        mutating=True, inverse="unstart, uncreate", events=True, takes_file=True, gives_file=True),
    _op("start", take.StartArgs, out.ContainerAnswer, _OPERATE, "Start a container on a fresh generation",
        mutating=True, inverse=str(Op.UNSTART), gives_file=True),
    _op("stop", take.StopArgs, out.ContainerAnswer, _OPERATE, "Stop a container's process, gently first",
        mutating=True, inverse=str(Op.REVIVE)),
    _op("restart", take.StopArgs, out.ContainerAnswer, _OPERATE, "Stop and start a container",
        mutating=True, inverse="unstart, revive"),
    _op("kill", take.KillArgs, out.ContainerAnswer, _OPERATE, "Send a signal, KILL by default",
        mutating=True, inverse=str(Op.REVIVE)),
    _op("pause", take.ContainerArgs, out.ContainerAnswer, _OPERATE, "Freeze all processes of a container",
        mutating=True, inverse=str(Op.RESUME)),
    _op("resume", take.ContainerArgs, out.ContainerAnswer, _OPERATE, "Thaw a paused container",
        mutating=True, inverse=str(Op.PAUSE)),
    _op("remove", take.RemoveArgs, out.ContainerAnswer, _OPERATE, "Move a container to the trash",
        mutating=True, inverse=str(Op.RESTORE)),
    _op("wake", take.ContainerArgs, out.Empty, _OPERATE, "Supervise a parked container again",
        mutating=True),
    _op("list", take.ListArgs, out.ListAnswer, _READ, "List containers"),
    _op("inspect", take.ContainerArgs, out.InspectAnswer, _READ, "All about one container"),
    _op("logs", take.LogsArgs, out.LogsAnswer, _READ, "Output of a container", events=True),
    _op("exec", take.ExecArgs, out.ExecAnswer, _OPERATE, "Run a command in a running container",
        mutating=True, gives_file=True),
    _op("attach", take.AttachArgs, out.Empty, _OPERATE, "Connect to a container's standard streams",
        gives_file=True),
    _op("resize", take.ResizeArgs, out.Empty, _OPERATE, "Set the size of a container's terminal"),
    _op("wait", take.WaitArgs, out.WaitAnswer, _READ, "Wait for a container to end"),
    _op("images", take.ImagesArgs, out.ImagesAnswer, _READ, "List images in the store"),
    _op("pull", take.PullArgs, out.ImageAnswer, _OPERATE, "Fetch an image from a registry",
        mutating=True, inverse="remove_image", events=True),
    _op("remove_image", take.RemoveImageArgs, out.ImageAnswer, _OPERATE, "Move an image to the trash",
        mutating=True, inverse="restore_image"),
    _op("pack", take.PackArgs, out.PackAnswer, _ADMIN, "Pack and sign an image into a .ctp",
        mutating=True, events=True),
    _op("adopt", take.AdoptArgs, out.ImageAnswer, _ADMIN, "Vouch for an unsigned image with your own key",
        mutating=True, inverse="unadopt", events=True),
    _op("verify", take.VerifyArgs, out.VerifyAnswer, _READ, "Check an image step by step", takes_file=True),
    _op("policy_check", take.ImageArgs, out.PolicyAnswer, _READ, "What the policy demands of an image"),
    _op("gather", take.GatherArgs, out.ImageAnswer, _ADMIN,
        "Look for signatures and attestations of an image", mutating=True, inverse="describe", events=True),
    _op("admit", take.AdmitArgs, out.AdmitAnswer, _OPERATE,
        "Whether another engine's runtime may make a container"),
    _op("trust_init", take.TrustInitArgs, out.TrustAnswer, _ADMIN, "Make keys, logs and a trust store",
        mutating=True),
    _op("trust_show", take.NoArgs, out.TrustAnswer, _READ, "Show whom this host trusts"),
    _op("trust_add", take.TrustAddArgs, out.TrustAnswer, _ADMIN, "Trust another key", mutating=True),
    _op("trust_revoke", take.TrustRevokeArgs, out.TrustAnswer, _ADMIN, "Stop trusting a key", mutating=True),
    _op("trust_logs", take.NoArgs, out.LogsSeenAnswer, _ADMIN,
        "Ask the logs of others for their heads, and hold them against what was seen"),
    _op("trust_update", take.TrustUpdateArgs, out.TrustAnswer, _ADMIN,
        "Take a new trust store that its updaters signed", mutating=True),
    _op("undo", take.UndoArgs, out.UndoAnswer, _OPERATE, "Take acts back", mutating=True, inverse="redo"),
    _op("redo", take.RedoArgs, out.UndoAnswer, _OPERATE, "Take an undo back", mutating=True, inverse="undo"),
    _op("history", take.HistoryArgs, out.HistoryAnswer, _READ, "What was done, newest first"),
    _op("audit", take.AuditArgs, out.AuditAnswer, _READ, "Check the journal's chain and proofs"),
    _op("verdicts", take.NoArgs, out.VerdictsAnswer, _READ,
        "Which containers could not be started now as they were"),
    _op("trash", take.NoArgs, out.TrashAnswer, _READ, "What was removed and can come back"),
    _op("trash_restore", take.TrashRestoreArgs, out.ContainerAnswer, _OPERATE,
        "Bring something back from the trash", mutating=True, inverse=str(Op.REMOVE)),
    _op("trash_empty", take.TrashEmptyArgs, out.TrashEmptiedAnswer, _ADMIN,
        "Delete containers' trash for good", mutating=True),
    _op("explain", take.ExplainArgs, out.ExplainAnswer, _READ, "Tell at length what a transaction did"),
    _op("doctor", take.NoArgs, out.DoctorAnswer, _READ, "Check the host"),
    _op("version", take.NoArgs, out.VersionAnswer, _READ, "Versions of the engine and its root folder"),
)}
