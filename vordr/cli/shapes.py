"""What ``--json``, ``--format`` and ``inspect`` show: the engine's answers in others' shapes. Pure.

Svalinn's container-info.v1, containers.v1, images.v1 and doctor-report.v1; docker's names for Go templates
and for inspect.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import Any, Final

import msgspec

from vordr.cli import wording
from vordr.cli.units import ps_cells
from vordr.formats.errors import FormatError
from vordr.formats.reference import parse
from vordr.model.answers import DoctorAnswer, InspectAnswer, Receipt, ShownContainer
from vordr.model.lifecycle import State
from vordr.model.state import ContainerState, ImageState

VERDICT_OF_ANY: Final = "allow"
"""A container exists only after a verdict that allowed it: nothing else can make one (design §6)."""

_PROFILE: Final = "vordr-default"


def plain(value: Any) -> Any:
    """A struct as JSON-safe builtins, fields by their own names."""
    return msgspec.to_builtins(value)


# -- Svalinn -------------------------------------------------------------------------------------------


def container_info(container: ContainerState) -> dict[str, Any]:
    """container-info.v1, with the fields that containers.v1 wants of each of its items beside them."""
    ended = container.state is State.STOPPED
    return {
        "id": container.id,
        "name": container.name,
        "image": container.image_name,
        "image_id": container.image,
        "state": str(container.state),
        "status": str(container.state),
        "policyVerdict": VERDICT_OF_ANY,
        "created_at": wording.rfc3339(container.created),
        "createdAt": wording.rfc3339(container.created),
        "started_at": wording.rfc3339(container.started),
        "finished_at": wording.rfc3339(container.finished) if ended else None,
        "exit_code": container.exit_code if ended else None,
        "pid": None if ended else container.pid,
        "ports": [],
        "mounts": [],
        "networks": [str(container.spec.network)],
        "labels": dict(container.spec.labels),
        "security_profile": _PROFILE,
    }


def containers(listed: Iterable[ContainerState]) -> dict[str, Any]:
    """containers.v1; each item is also a container-info.v1."""
    return {"containers": [container_info(c) for c in listed]}


def inspected(answer: InspectAnswer) -> dict[str, Any]:
    """container-info.v1 with what only inspect knows."""
    return {
        **container_info(answer.container),
        "state_digest": answer.digest,
        "generations": [g.number for g in answer.container.generations],
        "log_path": answer.log_path,
        "verdict": answer.verdict,
        "busy": answer.busy,
        "parked": answer.container.parked,
    }


def images(listed: Iterable[ImageState]) -> dict[str, Any]:
    """images.v1: one item per name, as in the list for people."""
    return {"images": [
        {"name": repository, "tag": tag, "digest": image.manifest, "verified": image.bundle is not None,
         "size": image.size, "origin": image.origin, "attested_by": image.attested_by,
         "imported_at": wording.rfc3339(image.imported)}
        for image in listed for repository, tag in names_of(image)
    ]}


def doctor_report(answer: DoctorAnswer, version: str, now_us: int) -> dict[str, Any]:
    """doctor-report.v1, with the supervision tree beside it."""
    tally = {"pass": 0, "warn": 0, "fail": 0}
    checks: list[dict[str, Any]] = []
    for check in answer.checks:
        tally[check.status] += 1
        row: dict[str, Any] = {"category": check.category, "name": check.name, "status": check.status,
                               "message": check.message}
        checks.append(row | ({"fix": {"command": check.fix}} if check.fix else {}))
    return {
        "version": version,
        "timestamp": wording.rfc3339(now_us),
        "checks": checks,
        "summary": {"passed": tally["pass"], "warnings": tally["warn"], "errors": tally["fail"]},
        "next_steps": [c.fix for c in answer.checks if c.fix and c.status == "fail"],
        "supervision": list(answer.supervision),
    }


def receipt(made: Receipt) -> dict[str, Any]:
    """What an act did and how to undo it."""
    fields: dict[str, Any] = plain(made)
    return fields


# -- docker --------------------------------------------------------------------------------------------


def names_of(image: ImageState) -> list[tuple[str, str]]:
    """(repository, tag) of each name of an image, as docker's list has them; at least one pair."""
    return [_split_name(name) for name in image.names] or [("<none>", "<none>")]


def _split_name(name: str) -> tuple[str, str]:
    try:
        reference = parse(name)
    except FormatError:
        return name, "<none>"
    bare = replace(reference, tag=None, digest=None)
    return bare.familiar(), reference.tag or "<none>"


def ps_row(container: ShownContainer, now_us: int, *, full: bool) -> dict[str, Any]:
    """One container by the names that docker's ``ps --format`` knows. ``full`` cuts nothing."""
    return {
        **ps_cells(container, now_us, full=full),
        "CreatedAt": wording.local_time(container.created),
        "State": wording.docker_state(container),
        "Size": "0B",
        "Labels": ",".join(f"{key}={value}" for key, value in container.spec.labels.items()),
        "Mounts": "",
        "Networks": str(container.spec.network),
        "LocalVolumes": "0",
    }


def image_rows(image: ImageState, now_us: int, *, full: bool) -> list[dict[str, Any]]:
    """One image by the names of docker's ``images --format``, one row for each of its names.

    The id is the manifest's digest, by which every command takes it.
    """
    digits = image.manifest.removeprefix("sha256:")
    return [
        {
            "Repository": repository,
            "Tag": tag,
            "ID": image.manifest if full else digits[:12],
            "Digest": image.manifest,
            "CreatedSince": wording.ago(image.imported, now_us),
            "CreatedAt": wording.local_time(image.imported),
            "Size": wording.size(image.size),
            "Verified": "yes" if image.bundle else "no",
            "AttestedBy": image.attested_by,
            "Origin": image.origin,
        }
        for repository, tag in names_of(image)
    ]


def docker_inspect(answer: InspectAnswer) -> dict[str, Any]:
    """A container in the shape of ``docker inspect``; what docker does not know is under ``Vordr``."""
    c, spec = answer.container, answer.container.spec
    config = answer.image.config if answer.image else None
    entrypoint = spec.entrypoint if spec.entrypoint is not None else (config.entrypoint if config else ())
    command = spec.command or (config.command if config and spec.entrypoint is None else ())
    words = list(c.arguments)
    return {
        "Id": c.id,
        "Created": wording.rfc3339(c.created),
        "Path": words[0] if words else "",
        "Args": words[1:],
        "State": _docker_state_object(c),
        "Image": c.image,
        "LogPath": answer.log_path,
        "Name": f"/{c.name}",
        "RestartCount": c.restarts,
        "Driver": "overlay-erofs",
        "Platform": config.os if config else "linux",
        "HostConfig": {
            "NetworkMode": str(spec.network),
            "RestartPolicy": {"Name": str(spec.restart.mode), "MaximumRetryCount": spec.restart.retries},
            "AutoRemove": spec.auto_remove,
            "ReadonlyRootfs": spec.read_only,
            "Memory": spec.memory or 0,
            "NanoCpus": (spec.cpu_millis or 0) * 1_000_000,
            "PidsLimit": spec.pids_limit,
            "Init": spec.init,
            "Privileged": False,
        },
        "Mounts": [],
        "Config": {
            "Hostname": spec.hostname or c.id[:12],
            "User": spec.user if spec.user is not None else (config.user if config else ""),
            "Tty": spec.tty,
            "OpenStdin": spec.stdin,
            "Env": sorted(spec.environment),
            "Cmd": list(command),
            "Entrypoint": list(entrypoint),
            "Image": c.image_name,
            "WorkingDir": spec.workdir or (config.workdir if config else "/"),
            "Labels": {**(config.labels if config else {}), **spec.labels},
            "StopSignal": spec.stop_signal or (config.stop_signal if config else None) or "SIGTERM",
            "StopTimeout": spec.stop_timeout,
        },
        "NetworkSettings": {"Networks": {str(spec.network): {}}, "Ports": {}},
        "Vordr": {
            "StateDigest": answer.digest,
            "Generations": [plain(g) for g in c.generations],
            "Ids": plain(c.ids),
            "Verdict": answer.verdict,
            "Busy": answer.busy,
            "Parked": c.parked,
            "Process": c.process,
        },
    }


def _docker_state_object(c: ContainerState) -> dict[str, Any]:
    never = "0001-01-01T00:00:00Z"
    return {
        "Status": wording.docker_state(c),
        "Running": c.state in (State.RUNNING, State.PAUSED),
        "Paused": c.state is State.PAUSED,
        "Restarting": False,
        "Dead": False,
        "Pid": c.pid or 0,
        "ExitCode": c.exit_code if c.exit_code is not None else 0,
        "ExitCodeKnown": c.exit_code is not None or c.state is not State.STOPPED,
        "StartedAt": wording.rfc3339(c.started) or never,
        "FinishedAt": wording.rfc3339(c.finished) or never,
    }


def docker_image(image: ImageState) -> dict[str, Any]:
    """An image in the shape of ``docker image inspect``; the rest is under ``Vordr``."""
    config = image.config
    return {
        "Id": image.manifest,
        "RepoTags": ["{}:{}".format(*pair) for pair in names_of(image) if pair[1] != "<none>"],
        "RepoDigests": [f"{repository}@{image.manifest}" for repository, _ in names_of(image)
                        if repository != "<none>"],
        "Created": wording.rfc3339(image.imported),
        "Architecture": config.architecture,
        "Os": config.os,
        "Size": image.size,
        "Config": {
            "User": config.user, "Env": list(config.environment), "Cmd": list(config.command),
            "Entrypoint": list(config.entrypoint), "WorkingDir": config.workdir,
            "Labels": dict(config.labels), "StopSignal": config.stop_signal,
        },
        "RootFS": {"Type": "layers", "Layers": [layer.diff_id for layer in image.layers]},
        "Vordr": {
            "ConfigDigest": image.config_digest, "Bundle": image.bundle, "Origin": image.origin,
            "AttestedBy": image.attested_by, "Seals": [plain(seal) for seal in image.seals],
        },
    }


def known_image(wanted: str, listed: Iterable[ImageState]) -> ImageState | None:
    """The image that ``wanted`` names: a reference, a digest, or the beginning of one (twelve digits)."""
    digits = wanted.removeprefix("sha256:")
    try:
        full: str | None = str(parse(wanted).with_default_tag())
    except FormatError:
        full = None
    for image in listed:
        by_id = len(digits) >= 12 and image.manifest.removeprefix("sha256:").startswith(digits)
        if by_id or (full is not None and full in image.names):
            return image
    return None
