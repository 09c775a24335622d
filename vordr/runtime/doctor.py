"""``vordr doctor``: what was found on this host, and what it therefore cannot do.

Each check is a value of the doctor-report.v1 schema. ``fail`` means that ``run`` cannot work; what only
narrows is ``warn``. The judging functions are pure over facts; the effects (trials in a child, dpkg, statvfs)
are gathered first, in :func:`examine`.
"""

from __future__ import annotations

import ctypes
import json
import os
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any, Final

from vordr.formats import mldsa
from vordr.formats.signature import Suite
from vordr.formats.times import format_rfc3339
from vordr.model.errors import RuntimeFailed, RuntimeNotFound, VordrError
from vordr.model.paths import Paths
from vordr.runtime.advisories import ADVISORIES, Fix, Package, dpkg_newer, installed_package, judge
from vordr.runtime.command import install_command, run
from vordr.runtime.driver import choose
from vordr.runtime.probe import CAP_SYS_ADMIN, CAP_SYS_RESOURCE, CgroupLayout, HostFacts

_LEAST_FREE: Final = 64 << 20
_LITTLE_FREE: Final = 1 << 30
# No clock of a working host is before the day this was written.
_PLAUSIBLE_S: Final = 1_767_225_600
_STA_UNSYNC: Final = 0x0040


class Status(StrEnum):
    PASS = "pass"  # noqa: S105 - a word of the schema, no password
    WARN = "warn"
    FAIL = "fail"


@dataclass(frozen=True)
class Check:
    """One line of the report; ``fix`` is a command for a root shell, ``persist`` one that makes it last."""

    category: str
    name: str
    status: Status
    message: str
    fix: str | None = None
    persist: str | None = None


@dataclass(frozen=True)
class Findings:
    """The effects behind the checks. ``trials`` maps a trial to "" or to what went wrong; ``free`` in bytes.

    ``synchronised`` is None when the kernel does not say; ``mounted`` are file system types in use.
    """

    trials: Mapping[str, str]
    package: Package | None
    free: int
    folder: Path
    now_s: float
    synchronised: bool | None
    mounted: frozenset[str]
    btf: bool


def checks(facts: HostFacts, paths: Paths) -> list[Check]:
    """All checks, in the order of the report. Takes half a second; mounts in a private namespace only."""
    found = examine(facts, paths)
    return [
        *_privileges(facts),
        *_control_groups(facts),
        *_runtime(facts, paths),
        *_advisories(facts, found.package),
        *_programs(facts),
        _suites(),
        *_kernel(facts, found.trials),
        *_storage(found),
        *_monitor(found),
        _clock(found),
    ]


def report(results: Sequence[Check], version: str, now_us: int) -> dict[str, Any]:
    """The report as doctor-report.v1 (JSON-safe)."""
    def entry(check: Check) -> dict[str, Any]:
        plain: dict[str, Any] = {
            "category": check.category, "name": check.name, "status": str(check.status),
            "message": check.message,
        }
        if check.fix is not None:
            plain["fix"] = {"command": check.fix, **({"persist": check.persist} if check.persist else {})}
        return plain

    counts = {status: sum(check.status is status for check in results) for status in Status}
    failures = [check.fix for check in results if check.status is Status.FAIL and check.fix]
    return {
        "version": version,
        "timestamp": format_rfc3339(now_us),
        "checks": [entry(check) for check in results],
        "summary": {
            "passed": counts[Status.PASS], "warnings": counts[Status.WARN], "errors": counts[Status.FAIL],
        },
        "next_steps": list(dict.fromkeys(failures)),
    }


def examine(facts: HostFacts, paths: Paths) -> Findings:
    """Do the trying and measuring. Never raises for something broken: that is a finding."""
    folder = next(path for path in (paths.root, *paths.root.parents) if path.is_dir())
    space = os.statvfs(folder)
    runc = facts.runtime("runc")
    return Findings(
        trials=_trials(folder),
        package=None if runc is None else installed_package(runc),
        free=space.f_bavail * space.f_frsize,
        folder=folder,
        now_s=time.time(),
        synchronised=_synchronised(),
        mounted=_mounted_types(),
        btf=Path("/sys/kernel/btf/vmlinux").exists(),
    )


def _trials(folder: Path) -> Mapping[str, str]:
    try:
        home = {"PYTHONPATH": str(Path(__file__).parents[2])}
        done = run((sys.executable, "-sP", "-m", "vordr.runtime.trials", folder), timeout=60, env=home)
        answers: dict[str, str] = json.loads(done.stdout)
        return answers
    except (VordrError, ValueError) as error:
        return {"trials": str(error)}


def _mounted_types() -> frozenset[str]:
    lines = Path("/proc/self/mountinfo").read_text(errors="replace").splitlines()
    return frozenset(line.partition(" - ")[2].split(" ")[0] for line in lines)


def _synchronised() -> bool | None:
    """Whether the kernel's clock is kept by a time service (adjtimex(2) with nothing to set)."""
    class Timex(ctypes.Structure):
        _fields_ = (
            ("modes", ctypes.c_uint), ("offset", ctypes.c_long), ("freq", ctypes.c_long),
            ("maxerror", ctypes.c_long), ("esterror", ctypes.c_long), ("status", ctypes.c_int),
            ("rest", ctypes.c_byte * 256),
        )

    buffer = Timex()
    libc = ctypes.CDLL(None, use_errno=True)
    return None if libc.adjtimex(ctypes.byref(buffer)) < 0 else not buffer.status & _STA_UNSYNC


def _privileges(facts: HostFacts) -> Iterator[Check]:
    area = "Privileges"
    if facts.euid == 0 and facts.has(CAP_SYS_ADMIN):
        yield Check(area, "root", Status.PASS, "root with CAP_SYS_ADMIN")
    else:
        yield Check(area, "root", Status.FAIL, "containers need root with CAP_SYS_ADMIN", "sudo vordr doctor")
    if facts.has(CAP_SYS_RESOURCE):
        yield Check(area, "resource-limits", Status.PASS, "limits can be raised (CAP_SYS_RESOURCE)")
    else:
        yield Check(
            area, "resource-limits", Status.WARN,
            "no CAP_SYS_RESOURCE: limits cannot be raised, and conmon is not shielded from the OOM killer")


def _control_groups(facts: HostFacts) -> Iterator[Check]:
    area = "Control groups"
    boot = "systemd.unified_cgroup_hierarchy=1"
    match facts.cgroup:
        case CgroupLayout.V2:
            yield Check(area, "layout", Status.PASS, "cgroup v2 alone: runc and crun both work")
        case CgroupLayout.NONE:
            yield Check(area, "layout", Status.FAIL, "no control groups are mounted",
                        "mount -t cgroup2 none /sys/fs/cgroup")
        case layout:
            yield Check(
                area, "layout", Status.WARN,
                f"cgroup {layout}: runc only (crun refuses it), no delegation into containers, no pressure"
                f" figures; boot with {boot} for cgroup v2")
    wanted = {"memory": "--memory", "cpu": "--cpus", "pids": "--pids-limit"}
    lacking = [option for name, option in wanted.items() if name not in facts.controllers]
    if lacking:
        yield Check(area, "limits", Status.WARN, f"no controller for {', '.join(lacking)}: these are refused")
    elif not facts.swap_limits:
        yield Check(area, "limits", Status.WARN,
                    "swap is not accounted: a container at its memory limit may still swap")
    else:
        yield Check(area, "limits", Status.PASS, "memory, swap, CPU and number of processes can be limited")


def _runtime(facts: HostFacts, paths: Paths) -> Iterator[Check]:
    area = "Runtime"
    try:
        driver = choose(facts, paths)
    except (RuntimeNotFound, RuntimeFailed) as error:
        yield Check(area, "oci-runtime", Status.FAIL, error.message, error.remedy)
        return
    yield Check(area, "oci-runtime", Status.PASS, f"{driver.name} {driver.version} ({driver.program})")
    yield Check(area, "conmon", Status.PASS, f"conmon {driver.conmon_version} ({driver.conmon})")


def _advisories(facts: HostFacts, package: Package | None) -> Iterator[Check]:
    """What is known of runc's packages; of crun's nothing is known for sure, and that is said."""
    runc = facts.runtime("runc")
    for advisory in ADVISORIES:
        names = ", ".join(advisory.cves)
        key = advisory.cves[0].lower()
        if runc is not None:
            verdict, why = judge(advisory, runc.version, package, dpkg_newer)
            fixed = verdict is Fix.FIXED
            yield Check(
                "Runtime", f"runc-{key}", Status.PASS if fixed else Status.WARN,
                f"{names} ({advisory.what}): {verdict}: {why}",
                None if fixed else "apt-get update && apt-get install --only-upgrade -y runc")
        if facts.runtime("crun") is not None and facts.cgroup is CgroupLayout.V2:
            yield Check("Runtime", f"crun-{key}", Status.WARN,
                        f"{names}: cannot tell for crun; keep the package up to date")


def _programs(facts: HostFacts) -> Iterator[Check]:
    wanted = (
        ("Images", "skopeo", facts.skopeo is not None, Status.WARN, "images cannot be pulled"),
        ("Images", "mkfs.erofs", facts.mkfs_erofs is not None, Status.FAIL, "layers cannot be sealed"),
        ("Runtime", "catatonit", facts.catatonit is not None, Status.WARN, "--init is refused"),
        ("Networking", "nft", facts.nft is not None, Status.WARN, "no ports can be published"),
    )
    for area, name, found, otherwise, loss in wanted:
        if found:
            yield Check(area, name, Status.PASS, f"{name} is installed")
        else:
            yield Check(area, name, otherwise, f"{name} is not installed: {loss}", install_command(name))


def _suites() -> Check:
    """Which signature suites hold here; what is not there is refused, never half of it skipped."""
    if Suite.ED25519_ML_DSA_87.available:
        return Check("Trust", "signatures", Status.PASS, "CT-SIG-01, CT-SIG-02 and CT-SIG-04 can be verified")
    return Check("Trust", "signatures", Status.WARN, f"{mldsa.MISSING}; CT-SIG-01 and CT-SIG-04 work",
                 f"{sys.executable} -m pip install --upgrade cryptography")


_TRIALS: Final = (
    ("user namespaces", Status.FAIL, "every container has a user namespace of its own",
     "sysctl -w user.max_user_namespaces=15000"),
    ("private mounts", Status.FAIL, "mounts stay out of the host's view", None),
    ("erofs", Status.FAIL, "sealed layers are EROFS images", "modprobe erofs"),
    ("idmapped mounts", Status.FAIL, "layers are shown with a container's own ids (Linux ≥ 5.19)", None),
    ("overlay", Status.FAIL, "root file systems are overlays below the root folder", "modprobe overlay"),
)


def _kernel(facts: HostFacts, trials: Mapping[str, str]) -> Iterator[Check]:
    area = "Kernel"
    if "trials" in trials:
        yield Check(area, "trials", Status.FAIL, f"the kernel could not be tried: {trials['trials']}")
        return
    for name, otherwise, why, fix in _TRIALS:
        key = name.replace(" ", "-")
        wrong = trials.get(name, "not tried, since private mounts failed")
        if wrong:
            yield Check(area, key, otherwise, f"{name}: {wrong} ({why})", fix)
        else:
            yield Check(area, key, Status.PASS, f"{name}: tried, works ({why})")
    if facts.seccomp:
        yield Check(area, "seccomp", Status.PASS, "seccomp filters are there")
    else:
        yield Check(area, "seccomp", Status.FAIL, "no seccomp in this kernel: system calls cannot be limited")


def _storage(found: Findings) -> Iterator[Check]:
    area = "Storage"
    if found.trials.get("fs-verity", "not tried"):
        yield Check(
            area, "fs-verity", Status.WARN,
            f"no fs-verity below {found.folder}: a sealed layer is checked by its stamp at each start, and"
            " hashed when that changed")
    else:
        yield Check(area, "fs-verity", Status.PASS, "the kernel itself can check sealed layers (fs-verity)")
    if found.trials.get("immutable flag", "not tried"):
        yield Check(area, "immutable-flag", Status.WARN,
                    f"no immutable flag below {found.folder}: only permissions guard sealed layers")
    else:
        yield Check(area, "immutable-flag", Status.PASS, "sealed layers can be made immutable")
    free = f"{found.free / (1 << 30):.1f} GiB free below {found.folder}"
    if found.free < _LEAST_FREE:
        yield Check(area, "disk-space", Status.FAIL, free, "vordr trash ls")
    else:
        yield Check(area, "disk-space", Status.WARN if found.free < _LITTLE_FREE else Status.PASS, free)


def _monitor(found: Findings) -> Iterator[Check]:
    area = "Monitor"
    for kind, target in (("tracefs", "/sys/kernel/tracing"), ("bpf", "/sys/fs/bpf")):
        name = "bpffs" if kind == "bpf" else kind
        if kind in found.mounted:
            yield Check(area, name, Status.PASS, f"{name} is mounted")
        else:
            yield Check(area, name, Status.WARN, f"{name} is not mounted (a monitor needs it)",
                        f"mount -t {kind} {kind} {target}")
    if found.btf:
        yield Check(area, "btf", Status.PASS, "the kernel describes its types (BTF)")
    else:
        yield Check(area, "btf", Status.WARN, "no BTF in this kernel: the monitor sees less")


def _clock(found: Findings) -> Check:
    """Signatures and proofs are judged by the clock."""
    if found.now_s < _PLAUSIBLE_S:
        return Check("Clock", "time", Status.FAIL, "the clock is years behind: no signature will be valid",
                     "timedatectl set-ntp true")
    if found.synchronised is False:
        return Check("Clock", "time", Status.WARN, "the clock is not kept by a time service",
                     "timedatectl set-ntp true")
    return Check("Clock", "time", Status.PASS, "the clock is plausible")
