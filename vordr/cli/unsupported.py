"""Flags of docker that Vörðr does not take, and what to do instead. Pure data."""

from __future__ import annotations

from typing import Final

_NETWORK: Final = "containers have no network of their own; --network host shares the host's ports"
_BINDS: Final = "put the files into the image: vordr pack FOLDER OUTPUT.ctp --name NAME"
_PRIVILEGE: Final = "leave it out: containers run in a user namespace of their own, with few capabilities"
_LIMITS: Final = "limits are -m/--memory, --cpus and --pids-limit"
_LOGS: Final = "leave it out: logs are always kept and read with vordr logs"
_HEALTH: Final = "leave it out: a restart policy (--restart on-failure) watches the process itself"
_SPACES: Final = "leave it out: every container has namespaces of its own"

_RUN: Final[dict[str, str]] = {
    **dict.fromkeys(("-p", "--publish", "-P", "--publish-all", "--expose"), _NETWORK),
    **dict.fromkeys(
        ("--ip", "--ip6", "--mac-address", "--link", "--network-alias", "--net-alias", "--dns",
         "--dns-search", "--dns-option", "--dns-opt", "--add-host", "--domainname"), _NETWORK),
    "--net": "use --network none or --network host",
    **dict.fromkeys(("-v", "--volume", "--mount", "--volumes-from", "--volume-driver"), _BINDS),
    "--tmpfs": "leave it out: the writable layer of each start holds temporary files too",
    "--shm-size": "leave it out: /dev/shm counts against -m/--memory",
    **dict.fromkeys(
        ("--privileged", "--cap-add", "--cap-drop", "--security-opt", "--device", "--device-cgroup-rule",
         "--gpus", "--group-add"), _PRIVILEGE),
    **dict.fromkeys(("--userns", "--pid", "--ipc", "--uts", "--cgroupns", "--isolation"), _SPACES),
    **dict.fromkeys(
        ("--memory-swap", "--memory-reservation", "--memory-swappiness", "--kernel-memory",
         "--cpu-shares", "--cpu-period", "--cpu-quota", "--cpuset-cpus", "--cpuset-mems", "--blkio-weight",
         "--device-read-bps", "--device-write-bps", "--oom-kill-disable", "--oom-score-adj", "--ulimit",
         "--storage-opt", "--cgroup-parent"), _LIMITS),
    **dict.fromkeys(("--log-driver", "--log-opt"), _LOGS),
    **dict.fromkeys(
        ("--health-cmd", "--health-interval", "--health-retries", "--health-timeout",
         "--health-start-period", "--no-healthcheck"), _HEALTH),
    "--sysctl": "leave it out: kernel settings are the host's",
    "--runtime": "leave it out: the runtime is chosen by probing the host (vordr doctor says which)",
    "--platform": "leave it out: images are taken for this host's architecture",
    "--disable-content-trust": "leave it out: verification is always on",
    "--label-file": "use -l KEY=VALUE for each label",
    "--annotation": "use -l KEY=VALUE",
    "-a": "without -d both output streams are attached; add -i for standard input",
    "--attach": "without -d both output streams are attached; add -i for standard input",
    "-q": "leave it out: the progress of a pull is shown on a terminal only",
    "--quiet": "leave it out: the progress of a pull is shown on a terminal only",
}

_EXEC: Final[dict[str, str]] = {
    "--privileged": _PRIVILEGE,
    "--env-file": "use -e NAME=VALUE for each variable",
}

_OTHER: Final[dict[str, dict[str, str]]] = {
    "ps": {
        "-s": "vordr inspect CONTAINER tells about its layers",
        "--size": "vordr inspect CONTAINER tells about its layers",
    },
    "logs": {
        "--until": "use --since, --tail, or cut the output with another program",
        "--details": "vordr inspect CONTAINER shows labels and environment names",
    },
    "rm": {
        "-v": "leave it out: the files of a container move to the trash with it",
        "--volumes": "leave it out: the files of a container move to the trash with it",
        "-l": "containers have no links",
        "--link": "containers have no links",
    },
    "rmi": {"--no-prune": "leave it out: layers go with the last image that uses them"},
    "pull": {
        "-a": "name each tag: vordr pull IMAGE:TAG",
        "--all-tags": "name each tag: vordr pull IMAGE:TAG",
        "--platform": "leave it out: images are taken for this host's architecture",
        "--disable-content-trust": "leave it out: verification is always on",
    },
    "start": {"--checkpoint": "memory of a process is not kept; vordr undo brings the process back anew"},
    "inspect": {"-s": "sizes are in the output already", "--size": "sizes are in the output already"},
}


def instead_of(command: str, option: str) -> str | None:
    """What to use instead of docker's ``option`` at ``command``; None when docker has no such option."""
    match command:
        case "run" | "create":
            return _RUN.get(option)
        case "exec":
            return _EXEC.get(option)
        case _:
            return _OTHER.get(command, {}).get(option)
