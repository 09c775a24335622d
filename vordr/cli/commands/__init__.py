"""THE table of commands: what each is called, where it is, and which operations of the engine it calls."""

from __future__ import annotations

from typing import Final, NamedTuple


class Row(NamedTuple):
    """``module`` below :mod:`vordr.cli.commands`, and in it the click command ``attribute``."""

    module: str
    operations: tuple[str, ...]
    heading: str
    help: str
    attribute: str = "command"
    hidden: bool = False


HEADINGS: Final = ("Containers", "Images and trust", "Record and reversal", "The engine")
_CONTAINERS, _IMAGES, _RECORD, _ENGINE = HEADINGS

COMMANDS: Final[dict[str, Row]] = {
    "run": Row("run", ("pull", "run", "wait", "kill", "resize", "logs"), _CONTAINERS,
               "Create and start a container from a verified image"),
    "create": Row("create", ("pull", "create"), _CONTAINERS, "Create a container without starting it"),
    "start": Row("start", ("start", "wait", "kill", "resize", "logs"), _CONTAINERS,
                 "Start containers, each on a fresh generation"),
    "stop": Row("stop", ("stop",), _CONTAINERS, "Stop containers, gently first"),
    "restart": Row("restart", ("restart",), _CONTAINERS, "Stop and start containers"),
    "kill": Row("kill", ("kill",), _CONTAINERS, "Send a signal to containers, KILL by default"),
    "pause": Row("pause", ("pause",), _CONTAINERS, "Freeze all processes of containers"),
    "wake": Row("wake", ("wake",), _CONTAINERS, "Supervise parked containers again"),
    "unpause": Row("unpause", ("resume",), _CONTAINERS, "Thaw paused containers"),
    "resume": Row("unpause", ("resume",), _CONTAINERS, "As unpause", hidden=True),
    "rm": Row("rm", ("remove",), _CONTAINERS, "Move containers to the trash"),
    "ps": Row("ps", ("list",), _CONTAINERS, "List containers"),
    "inspect": Row("inspect", ("inspect", "images"), _CONTAINERS, "All about containers and images"),
    "logs": Row("logs", ("logs",), _CONTAINERS, "Show what a container wrote"),
    "exec": Row("exec", ("exec", "wait", "resize"), _CONTAINERS, "Run a command in a running container"),
    "attach": Row("attach", ("inspect", "attach", "wait", "kill", "resize"), _CONTAINERS,
                  "Connect to a container's standard streams"),
    "wait": Row("wait", ("wait",), _CONTAINERS, "Wait until containers end; print their exit codes"),
    "images": Row("images", ("images",), _IMAGES, "List images"),
    "image": Row("image", ("images", "pull", "remove_image", "inspect"), _IMAGES,
                 "Work with images: ls, pull, rm, inspect"),
    "pull": Row("pull", ("pull",), _IMAGES, "Fetch an image from a registry"),
    "rmi": Row("rmi", ("remove_image",), _IMAGES, "Move images to the trash"),
    "pack": Row("pack", ("pack",), _IMAGES, "Pack and sign an image into a .ctp file"),
    "sign": Row("sign", (), _IMAGES, "Add your signature to a bundle or package"),
    "adopt": Row("adopt", ("adopt",), _IMAGES, "Vouch for an unsigned image with your own key"),
    "verify": Row("verify", ("verify",), _IMAGES, "Check an image step by step"),
    "policy": Row("policy", ("policy_check", "gather"), _IMAGES,
                  "What the operator's policy demands of images: check, gather"),
    "trust": Row("trust", ("trust_init", "trust_show", "trust_add", "trust_revoke", "trust_update",
                           "trust_logs"), _IMAGES,
                 "Whom this host trusts: init, key, show, add, revoke, sign, update, logs"),
    "translog": Row("translog", (), _IMAGES, "Operate a transparency log: init, serve"),
    "spec": Row("spec", (), _IMAGES, "The commands of verified-container-spec's conformance contract"),
    "undo": Row("undo", ("undo",), _RECORD, "Take acts back"),
    "redo": Row("redo", ("redo",), _RECORD, "Take an undo back"),
    "history": Row("history", ("history",), _RECORD, "What was done, newest first"),
    "explain": Row("explain", ("explain",), _RECORD, "Tell what an act did, or what an error means"),
    "audit": Row("audit", ("audit", "verdicts"), _RECORD,
                 "Check the journal's chain, head and proofs, or the verdicts of what runs"),
    "trash": Row("trash", ("trash", "trash_restore", "trash_empty"), _RECORD,
                 "What was removed and can come back"),
    "doctor": Row("doctor", ("doctor",), _ENGINE, "Check the host"),
    "serve": Row("serve", (), _ENGINE, "Run the service of a root folder"),
    "system": Row("system", ("admit",), _ENGINE,
                  "Put podman, containerd or CRI-O under the gate: integrate, admit"),
    "shell": Row("shell", ("list", "history"), _ENGINE, "An interactive shell for administrators"),
    "version": Row("version", ("version",), _ENGINE, "Versions of the command line and the service"),
    "completion": Row("completion", (), _ENGINE, "Print the completion script for bash, zsh or fish"),
}
