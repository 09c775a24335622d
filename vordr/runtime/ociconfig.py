"""config.json of a container: what the user asked for and the image says, as the OCI runtime takes it.

Pure: same arguments, same value. OCI runtime-spec config.md and config-linux.md; the defaults
(masked paths, mounts, devices) are docker's, the capabilities fewer, and every container has a user namespace
of its own, in which no id is the host's root.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from vordr.model.errors import RuntimeNotFound, UsageError
from vordr.model.spec import ContainerSpec, IdRange, NetworkMode
from vordr.model.state import ImageConfig
from vordr.runtime.command import install_command
from vordr.runtime.etcfiles import TARGETS, hostname
from vordr.runtime.identifiers import check_id
from vordr.runtime.probe import CAP_SYS_RESOURCE, CgroupLayout, HostFacts
from vordr.runtime.users import UserIds

CAPABILITIES: Final = (
    "CAP_CHOWN", "CAP_DAC_OVERRIDE", "CAP_FSETID", "CAP_FOWNER", "CAP_SETGID", "CAP_SETUID", "CAP_SETPCAP",
    "CAP_NET_BIND_SERVICE", "CAP_KILL",
)
"""docker's default set without MKNOD, NET_RAW, SYS_CHROOT, AUDIT_WRITE and SETFCAP."""

MASKED_PATHS: Final = (
    "/proc/acpi", "/proc/asound", "/proc/interrupts", "/proc/kcore", "/proc/keys", "/proc/latency_stats",
    "/proc/sched_debug", "/proc/scsi", "/proc/timer_list", "/proc/timer_stats",
    "/sys/devices/virtual/powercap", "/sys/firmware",
)
READONLY_PATHS: Final = ("/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger")

DEFAULT_PATH: Final = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
DEFAULT_PIDS: Final = 2048
INIT_TARGET: Final = "/dev/init"
_CPU_PERIOD_US: Final = 100_000
_TTY_GID: Final = 5


def build(
    spec: ContainerSpec,
    image: ImageConfig,
    *,
    id: str,
    rootfs: Path,
    ids: IdRange,
    environment: Mapping[str, str],
    cgroup: str,
    seccomp: Mapping[str, Any],
    facts: HostFacts,
    user: UserIds,
    etc: Path | None = None,
    annotations: Mapping[str, str] | None = None,
) -> dict[str, Any]:
    """The whole config.json.

    ``environment`` holds the real values of ``-e``; ``cgroup`` is absolute (``/vordr/<id>``); ``etc`` is the
    folder of :func:`etcfiles.write_etc_files`. Raises UsageError when there is no command to run or a
    limit cannot be held here, RuntimeNotFound when ``--init`` needs a program that is not installed.
    """
    check_id(id)
    name = hostname(spec, id, facts.nodename)
    arguments = command_of(spec, image)
    if spec.init:
        if facts.catatonit is None:
            raise RuntimeNotFound("--init needs catatonit", remedy=install_command("catatonit"))
        arguments = [INIT_TARGET, "--", *arguments]
    return {
        "ociVersion": "1.0.2",
        "process": {
            "terminal": spec.tty,
            "args": arguments,
            "env": _environment(image, environment, user, tty=spec.tty, name=name),
            "cwd": spec.workdir or image.workdir or "/",
            **_identity(user),
        },
        "root": {"path": str(rootfs), "readonly": spec.read_only},
        "hostname": name,
        "mounts": _mounts(spec, ids, facts, etc),
        "annotations": dict(annotations or {}),
        "linux": {
            "namespaces": [{"type": kind} for kind in _namespaces(spec, facts)],
            "uidMappings": [_mapping(ids)],
            "gidMappings": [_mapping(ids)],
            "cgroupsPath": cgroup,
            "resources": _resources(spec, facts),
            "seccomp": dict(seccomp),
            "maskedPaths": list(MASKED_PATHS),
            "readonlyPaths": list(READONLY_PATHS),
            **({"sysctl": _sysctl(ids)} if spec.network is not NetworkMode.HOST else {}),
        },
    }


def process_for_exec(
    command: Sequence[str],
    image: ImageConfig,
    *,
    spec: ContainerSpec,
    id: str,
    environment: Mapping[str, str],
    facts: HostFacts,
    user: UserIds,
    tty: bool,
    workdir: str | None = None,
) -> dict[str, Any]:
    """process.json of an exec: the container's own limits and privileges, never more.

    ``environment`` holds the real values of the container's ``-e``, then the exec's. Raises UsageError when
    ``command`` is empty.
    """
    if not command or not command[0]:
        raise UsageError("exec needs a command")
    return {
        "terminal": tty,
        "args": list(command),
        "env": _environment(image, environment, user, tty=tty, name=hostname(spec, id, facts.nodename)),
        "cwd": workdir or spec.workdir or image.workdir or "/",
        **_identity(user),
    }


def command_of(spec: ContainerSpec, image: ImageConfig) -> list[str]:
    """What to execute, by docker's rules: an entrypoint of the user's own drops the image's command too.

    ``entrypoint`` (None: the image's; empty: none), then the command (empty: the image's).
    """
    entrypoint = image.entrypoint if spec.entrypoint is None else spec.entrypoint
    command = spec.command or (image.command if spec.entrypoint is None else ())
    arguments = [*entrypoint, *command]
    if not arguments or not arguments[0]:
        raise UsageError(
            "no command: neither the image nor you named one", remedy="vordr run IMAGE COMMAND [ARGUMENT…]"
        )
    return arguments


def _environment(
    image: ImageConfig, own: Mapping[str, str], user: UserIds, *, tty: bool, name: str
) -> list[str]:
    """Defaults, then the image's, then the user's; HOME from the account unless one of them has it."""
    found = {"PATH": DEFAULT_PATH, "HOSTNAME": name, "container": "vordr"}
    if tty:
        found["TERM"] = "xterm"
    for entry in image.environment:
        key, separator, value = entry.partition("=")
        if key and separator:
            found[key] = value
    found.update(own)
    found.setdefault("HOME", user.home)
    return [f"{key}={value}" for key, value in found.items()]


def _identity(user: UserIds) -> dict[str, Any]:
    """Ids and privileges. Inheritable and ambient stay empty (CVE-2022-29162)."""
    capabilities = list(CAPABILITIES)
    return {
        "user": {"uid": user.uid, "gid": user.gid, "additionalGids": list(user.groups), "umask": 0o022},
        "capabilities": {"bounding": capabilities, "effective": capabilities, "permitted": capabilities},
        "noNewPrivileges": True,
    }


def _namespaces(spec: ContainerSpec, facts: HostFacts) -> list[str]:
    kinds = ["user", "pid", "mount", "ipc", "uts"]
    if spec.network is not NetworkMode.HOST:
        kinds.append("network")
    if facts.cgroup_namespaces:
        kinds.append("cgroup")
    return kinds


def _mapping(ids: IdRange) -> dict[str, int]:
    return {"containerID": 0, "hostID": ids.first, "size": ids.count}


def _mount(target: str, kind: str, source: str, *options: str) -> dict[str, Any]:
    return {"destination": target, "type": kind, "source": source, "options": list(options)}


def _mounts(spec: ContainerSpec, ids: IdRange, facts: HostFacts, etc: Path | None) -> list[dict[str, Any]]:
    tty_group = (f"gid={_TTY_GID}",) if ids.count > _TTY_GID else ()
    plain = ("nosuid", "noexec", "nodev")
    found = [
        _mount("/proc", "proc", "proc", *plain),
        _mount("/dev", "tmpfs", "tmpfs", "nosuid", "noexec", "strictatime", "mode=755", "size=65536k"),
        _mount("/dev/pts", "devpts", "devpts", "nosuid", "noexec", "newinstance", "ptmxmode=0666",
               "mode=0620", *tty_group),
        _mount("/dev/shm", "tmpfs", "shm", *plain, "mode=1777", "size=65536k"),
        _mount("/dev/mqueue", "mqueue", "mqueue", *plain),
    ]
    if spec.network is NetworkMode.HOST:
        # The kernel lets only the owner of the network namespace mount a fresh sysfs (sysfs(5)).
        found.append(_mount("/sys", "none", "/sys", "rbind", *plain, "ro", "rro"))
    else:
        found.append(_mount("/sys", "sysfs", "sysfs", *plain, "ro"))
        if facts.cgroup_namespaces:
            found.append(_mount("/sys/fs/cgroup", "cgroup", "cgroup", *plain, "relatime", "ro"))
    if spec.init:
        found.append(_mount(INIT_TARGET, "bind", str(facts.catatonit), "bind", "ro", "nosuid", "nodev"))
    if etc is not None:
        access = "ro" if spec.read_only else "rw"
        found += [
            _mount(f"/etc/{target}", "bind", str(etc / target), "bind", "rprivate", *plain, access)
            for target in TARGETS
        ]
    return found


def _resources(spec: ContainerSpec, facts: HostFacts) -> dict[str, Any]:
    """Limits; a limit that nothing here can hold is refused, the default one on processes is left out."""
    _check_limits(spec, facts)
    found: dict[str, Any] = {}
    if _can_hold_devices(facts):
        found["devices"] = [{"allow": False, "access": "rwm"}]
    if "pids" in facts.controllers:
        found["pids"] = {"limit": DEFAULT_PIDS if spec.pids_limit is None else spec.pids_limit}
    if spec.memory is not None:
        # Runtimes count memory and swap together in "swap": the same number allows no swap at all.
        found["memory"] = {"limit": spec.memory, **({"swap": spec.memory} if facts.swap_limits else {})}
    if spec.cpu_millis is not None:
        found["cpu"] = {"quota": spec.cpu_millis * _CPU_PERIOD_US // 1000, "period": _CPU_PERIOD_US}
    return found


def _can_hold_devices(facts: HostFacts) -> bool:
    """Whether the runtime can load the rule on devices: on v2 a BPF program, for which crun raises
    RLIMIT_MEMLOCK.

    Without it the user namespace still holds: nobody in it can make a device node (mknod(2)), and only
    docker's harmless ones are bound into /dev.
    """
    return facts.cgroup is not CgroupLayout.V2 or facts.has(CAP_SYS_RESOURCE)


def _check_limits(spec: ContainerSpec, facts: HostFacts) -> None:
    wanted = (
        ("--memory", "memory", spec.memory), ("--cpus", "cpu", spec.cpu_millis),
        ("--pids-limit", "pids", spec.pids_limit),
    )
    for option, controller, value in wanted:
        if value is not None and controller not in facts.controllers:
            raise UsageError(
                f"{option} cannot be held: this host has no cgroup controller {controller!r}",
                remedy="leave the limit out, or see vordr doctor",
            )


def _sysctl(ids: IdRange) -> dict[str, str]:
    """As docker: ports below 1024 and ping need no privilege in a network namespace of one's own."""
    return {"net.ipv4.ip_unprivileged_port_start": "0", "net.ipv4.ping_group_range": f"0 {ids.count - 1}"}
