"""Probe and doctor on this very host, and crun where it works: in a mount namespace with cgroup v2 alone."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from vordr.model.paths import Paths
from vordr.runtime import advisories, cgroups, doctor
from vordr.runtime.probe import CgroupLayout, probe

PATHS = Paths(Path("/var/lib/vordr"), Path("/run/vordr/0"))


@pytest.fixture(autouse=True)
def root() -> None:
    if os.geteuid() != 0:
        pytest.fail("needs root")


def test_probing_finds_what_runs_here() -> None:
    facts = probe()
    assert facts.cgroup is not CgroupLayout.NONE and facts.conmon is not None and facts.runtimes


def test_doctor_fails_nothing_where_containers_run() -> None:
    results = doctor.checks(probe(), PATHS)
    assert [check.name for check in results if check.status is doctor.Status.FAIL] == []
    assert len({check.name for check in results}) == len(results)
    assert {check.category for check in results} >= {
        "Runtime",
        "Kernel",
        "Storage",
        "Control groups",
        "Privileges",
    }


def test_doctor_leaves_no_mount_behind() -> None:
    """Nor lets one come through: seen in a namespace apart from the host's, where all mounts are shared."""
    script = (
        "import pathlib\n"
        "from vordr.model.paths import Paths\n"
        "from vordr.runtime import doctor\n"
        "from vordr.runtime.probe import probe\n"
        "mounts = pathlib.Path('/proc/self/mountinfo')\n"
        "before = mounts.read_text()\n"
        f"assert doctor.checks(probe(), Paths.of(pathlib.Path({str(PATHS.root)!r})))\n"
        "assert mounts.read_text() == before, mounts.read_text()\n"
    )
    share = 'mount --make-rshared / && exec "$@"'
    within = ["unshare", "-m", "--propagation", "private", "sh", "-c", share, "sh"]
    words = [*within, sys.executable, "-c", script]
    done = subprocess.run(words, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr


def test_the_installed_runc_package_is_judged_by_its_revision() -> None:
    runc = probe().runtime("runc")
    assert runc is not None
    package = advisories.installed_package(runc)
    assert package is not None and package.version and package.changelog
    assert advisories.dpkg_newer("1.1.5+ds1-1+deb12u1", "1.1.5+ds1-1") is True
    assert advisories.dpkg_newer("1.1.5~rc1", "1.1.5") is False


def test_warming_changes_no_membership() -> None:
    before = Path("/proc/self/cgroup").read_text()
    cgroups.warm()
    assert Path("/proc/self/cgroup").read_text() == before


def test_warmth_ends_by_itself_and_one_thread_keeps_it() -> None:
    def keeping() -> list[threading.Thread]:
        return [thread for thread in threading.enumerate() if thread.name == "cgroup-warmth"]

    for _ in range(20):
        cgroups.warm()
    (thread,) = keeping()
    thread.join(10)
    assert keeping() == []
    cgroups.warm()
    assert len(keeping()) == 1


CRUN_TESTS = (
    "calls_for or user_of_the_host or every_namespace or privileges or refused_with_the_errno"
    " or signal_from_outside or paused or told_apart or quietly or attached_before or terminal or exec"
    " or reap_kills or killed_conmon or before_its_conmon or abandoned or ends_at_once"
    " or read_only or init or missing_working"
)


def test_crun_passes_the_same_tests_under_cgroup_v2_alone() -> None:
    """A fresh cgroup2 over /sys/fs/cgroup, seen by the inner run only (no controllers, so no limits)."""
    script = 'mount -t cgroup2 none /sys/fs/cgroup && exec "$@"'
    here = Path(__file__).parent
    within = ["unshare", "-m", "--propagation", "private", "sh", "-c", script, "sh"]
    files = [str(here / f"test_runtime_{part}.py") for part in ("containers", "conmon")]
    tests = [*files, "-k", CRUN_TESTS]
    words = [*within, sys.executable, "-m", "pytest", "-x", "-p", "no:cacheprovider", *tests]
    done = subprocess.run(words, capture_output=True, text=True, timeout=150, cwd=here.parents[1])
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-2000:]
    assert " passed" in done.stdout
