"""Who handles which operation of the registry."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from vordr.engine.handlers import (
    admitting,
    containers,
    images,
    reversal,
    trash,
    trust,
    verdicts,
    verifying,
    watching,
)
from vordr.engine.host import Handler

HANDLERS: Final[Mapping[str, Handler]] = {
    "create": containers.create,
    "run": containers.run,
    "start": containers.start,
    "stop": containers.stop,
    "restart": containers.restart,
    "kill": containers.kill,
    "pause": containers.pause,
    "resume": containers.resume,
    "remove": containers.remove,
    "wake": containers.wake,
    "list": containers.listed,
    "exec": containers.execute,
    "inspect": watching.inspect,
    "logs": watching.logs,
    "attach": watching.attach,
    "resize": watching.resize,
    "wait": watching.wait,
    "images": images.images,
    "pull": images.pull,
    "remove_image": images.remove_image,
    "pack": images.pack,
    "adopt": images.adopt,
    "verify": verifying.verify,
    "policy_check": verifying.policy_check,
    "gather": verifying.gather,
    "admit": admitting.admit,
    "trust_init": trust.trust_init,
    "trust_show": trust.trust_show,
    "trust_add": trust.trust_add,
    "trust_revoke": trust.trust_revoke,
    "trust_update": trust.trust_update,
    "trust_logs": trust.trust_logs,
    "undo": reversal.undo,
    "redo": reversal.redo,
    "history": reversal.history,
    "explain": reversal.explain,
    "trash": trash.trash,
    "trash_restore": trash.trash_restore,
    "trash_empty": trash.trash_empty,
    "audit": watching.audit,
    "verdicts": verdicts.verdicts,
    "doctor": watching.doctor,
    "version": watching.version,
}
