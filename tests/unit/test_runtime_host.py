"""Judging the host: pure functions over facts."""

from __future__ import annotations

import dataclasses
import os
import select
from pathlib import Path

import jsonschema
import pytest
from published import svalinn_schema

from vordr.model.errors import RuntimeFailed, RuntimeNotFound, UsageError
from vordr.model.paths import Paths
from vordr.runtime import advisories, command, doctor, probe
from vordr.runtime.advisories import ADVISORIES, Fix, Package, judge
from vordr.runtime.attach import resize
from vordr.runtime.cgroups import Hierarchy
from vordr.runtime.driver import choose
from vordr.runtime.probe import CgroupLayout, HostFacts, Program, layout_of
from vordr.runtime.syncpipe import LinePipe

RUNC = Program("runc", Path("/usr/sbin/runc"), "1.1.5+ds1")
CRUN = Program("crun", Path("/usr/bin/crun"), "1.8.1")
CONMON = Program("conmon", Path("/usr/bin/conmon"), "2.1.6")
FACTS = HostFacts(
    euid=0,
    capabilities=(1 << 41) - 1,
    nodename="host",
    kernel=(6, 18),
    release="6.18",
    architecture="x86_64",
    cgroup=CgroupLayout.V2,
    controllers=frozenset({"memory", "cpu", "pids"}),
    swap_limits=True,
    runtimes=(RUNC, CRUN),
    conmon=CONMON,
    skopeo=None,
    mkfs_erofs=Path("/m"),
    nft=None,
    catatonit=None,
    erofs=True,
    overlay=True,
    idmapped=True,
    user_namespaces=True,
    cgroup_namespaces=True,
    seccomp=True,
    fsverity=False,
)
PATHS = Paths(Path("/var/lib/x"), Path("/run/x"))
GOOD = dict.fromkeys(
    (
        "user namespaces",
        "private mounts",
        "erofs",
        "idmapped mounts",
        "overlay",
        "immutable flag",
        "fs-verity",
    ),
    "",
)
FOUND = doctor.Findings(
    trials=GOOD,
    package=None,
    free=1 << 40,
    folder=Path("/var/lib"),
    now_s=2e9,
    synchronised=True,
    mounted=frozenset({"tracefs", "bpf"}),
    btf=True,
)
V1 = Hierarchy(Path("/sys/fs/cgroup/memory"), False, frozenset({"memory"}))
V2 = Hierarchy(Path("/sys/fs/cgroup"), True, frozenset())


@pytest.mark.parametrize(
    ("mounted", "layout"), [((V1, V2), "hybrid"), ((V1,), "v1"), ((V2,), "v2"), ((), "none")]
)
def test_layout_is_told_by_what_is_mounted(mounted: tuple[Hierarchy, ...], layout: str) -> None:
    assert layout_of(mounted) == layout


def test_crun_is_first_on_cgroup_v2_and_never_chosen_elsewhere() -> None:
    assert choose(FACTS, PATHS).name == "crun"
    assert choose(dataclasses.replace(FACTS, runtimes=(RUNC,)), PATHS).name == "runc"
    assert choose(dataclasses.replace(FACTS, cgroup=CgroupLayout.HYBRID), PATHS).name == "runc"


def test_without_a_usable_runtime_the_error_says_what_to_install() -> None:
    facts = dataclasses.replace(FACTS, cgroup=CgroupLayout.V1, runtimes=(CRUN,), conmon=None)
    with pytest.raises(RuntimeNotFound) as refused:
        choose(facts, PATHS)
    assert refused.value.remedy == "apt-get install -y runc conmon"
    assert "crun does not work" in str(refused.value)


def fixed(version: str, package: Package | None, index: int = 1, newer: bool | None = None) -> Fix:
    return judge(ADVISORIES[index], version, package, lambda left, right: newer)[0]


@pytest.mark.parametrize("version", ["1.2.8", "1.3.3", "1.3.9", "1.4.0", "1.5.1", "2.0.0"])
def test_upstream_versions_with_the_fix_are_fixed(version: str) -> None:
    assert fixed(version, None) is Fix.FIXED


@pytest.mark.parametrize("version", ["1.1.5+ds1", "1.2.7", "1.3.2", "1.4.0-rc.2", "1.1.99", ""])
def test_older_versions_of_no_package_cannot_be_told(version: str) -> None:
    assert fixed(version, None) is Fix.UNKNOWN


def test_a_listed_revision_decides_by_dpkgs_order() -> None:
    package = Package("debian", "12", "1.1.5+ds1-1+deb12u1", "")
    assert fixed("1.1.5+ds1", package, 0, True) is Fix.FIXED
    assert fixed("1.1.5+ds1", package, 0, False) is Fix.VULNERABLE
    assert fixed("1.1.5+ds1", package, 0, None) is Fix.UNKNOWN


def test_a_changelog_must_name_every_cve() -> None:
    some, every = "fix CVE-2025-31133", "CVE-2025-31133 CVE-2025-52565 CVE-2025-52881"
    assert fixed("1.1.5", Package("debian", "12", "1", some)) is Fix.UNKNOWN
    assert fixed("1.1.5", Package("debian", "12", "1", every)) is Fix.FIXED


def statuses(facts: HostFacts, found: doctor.Findings) -> dict[str, str]:
    checks = [
        *doctor._privileges(facts),
        *doctor._control_groups(facts),
        *doctor._runtime(facts, PATHS),
        *doctor._programs(facts),
        *doctor._kernel(facts, found.trials),
        *doctor._storage(found),
        *doctor._monitor(found),
        doctor._clock(found),
    ]
    return {check.name: str(check.status) for check in checks}


def test_a_good_host_fails_nothing() -> None:
    assert "fail" not in statuses(FACTS, FOUND).values()


@pytest.mark.parametrize(
    ("change", "name"),
    [
        ({"euid": 1000}, "root"),
        ({"capabilities": 0}, "root"),
        ({"cgroup": CgroupLayout.NONE}, "layout"),
        ({"runtimes": ()}, "oci-runtime"),
        ({"conmon": None}, "oci-runtime"),
        ({"mkfs_erofs": None}, "mkfs.erofs"),
        ({"seccomp": False}, "seccomp"),
    ],
)
def test_what_a_run_needs_fails_when_it_is_missing(change: dict[str, object], name: str) -> None:
    assert statuses(dataclasses.replace(FACTS, **change), FOUND)[name] == "fail"  # type: ignore[arg-type]  # table


@pytest.mark.parametrize("trial", ["user namespaces", "erofs", "idmapped mounts", "overlay"])
def test_a_kernel_trial_that_a_run_needs_fails_the_check(trial: str) -> None:
    found = dataclasses.replace(FOUND, trials={**GOOD, trial: "Operation not permitted"})
    assert statuses(FACTS, found)[trial.replace(" ", "-")] == "fail"


@pytest.mark.parametrize(
    ("change", "name"),
    [
        ({"trials": {**GOOD, "fs-verity": "no"}}, "fs-verity"),
        ({"trials": {**GOOD, "immutable flag": "no"}}, "immutable-flag"),
        ({"mounted": frozenset()}, "tracefs"),
        ({"btf": False}, "btf"),
        ({"synchronised": False}, "time"),
        ({"free": 500 << 20}, "disk-space"),
    ],
)
def test_what_only_narrows_is_a_warning(change: dict[str, object], name: str) -> None:
    assert statuses(FACTS, dataclasses.replace(FOUND, **change))[name] == "warn"  # type: ignore[arg-type]  # table


def test_a_limit_that_cannot_be_held_is_warned_of_by_its_option() -> None:
    facts = dataclasses.replace(FACTS, controllers=frozenset({"cpu"}))
    limits = next(check for check in doctor._control_groups(facts) if check.name == "limits")
    assert "--memory" in limits.message and "--cpus" not in limits.message


def test_the_report_is_of_the_published_schema() -> None:
    schema = svalinn_schema("doctor-report.v1.json")
    checks = [*doctor._runtime(dataclasses.replace(FACTS, conmon=None), PATHS), doctor._clock(FOUND)]
    report = doctor.report(checks, "0.1.0", 1)
    jsonschema.validate(report, schema)
    assert report["summary"] == {"passed": 1, "warnings": 0, "errors": 1}
    assert report["next_steps"] == ["apt-get install -y conmon"]


def test_a_program_failing_is_reported_as_a_command_to_paste() -> None:
    with pytest.raises(RuntimeFailed) as failure:
        command.run(("/bin/sh", "-c", "echo first >&2; echo 'last words' >&2; exit 3"))
    assert (
        str(failure.value)
        == """/bin/sh -c 'echo first >&2; echo '"'"'last words'"'"' >&2; exit 3': last words"""
    )
    assert failure.value.details["code"] == 3


def test_a_program_that_overruns_is_killed_with_its_children() -> None:
    reader, writer = os.pipe()
    with pytest.raises(RuntimeFailed, match=r"no end after 0\.2 s"):
        command.run(("/bin/sh", "-c", "sleep 60 & wait"), timeout=0.2, pass_fds=(writer,))
    os.close(writer)
    assert select.select([reader], [], [], 10)[0], "a child still holds the pipe"
    os.close(reader)


def test_programs_get_a_clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SECRET", "x")
    names = {
        line.split(b"=")[0] for line in command.run(("/usr/bin/env",), env={"A": "b"}).stdout.splitlines()
    }
    assert b"SECRET" not in names and {b"PATH", b"A"} <= names


def test_a_missing_program_names_its_package() -> None:
    assert command.missing("mkfs.erofs").remedy == "apt-get install -y erofs-utils"
    with pytest.raises(RuntimeNotFound):
        command.run(("no-such-program",))


def test_lines_of_the_sync_pipe_arrive_whole_and_end_with_it() -> None:
    pipe = LinePipe()
    os.write(pipe.writer, b'{"data": 5}\n{"data": -1, "message": "a\\nb"}\n')
    assert pipe.line(1) == {"data": 5}
    assert pipe.line(1) == {"data": -1, "message": "a\nb"}
    with pytest.raises(TimeoutError):
        pipe.line(0.01)
    pipe.close_writer()
    assert pipe.line(1) is None
    pipe.close()


def test_garbage_on_the_sync_pipe_is_an_error() -> None:
    pipe = LinePipe()
    os.write(pipe.writer, b"[]\n")
    with pytest.raises(RuntimeFailed):
        pipe.line(1)
    pipe.close()


@pytest.mark.parametrize(("rows", "columns"), [(0, 80), (24, 0), (-1, 80), (24, 5000)])
def test_impossible_terminal_sizes_are_refused(rows: int, columns: int) -> None:
    with pytest.raises(UsageError):
        resize(PATHS, "a" * 64, rows, columns)


def test_version_comparison_reads_numbers() -> None:
    assert RUNC.at_least(1, 1) and not RUNC.at_least(1, 2)


def test_the_changelog_of_an_absent_package_is_empty() -> None:
    assert advisories._changelog("no-such-package") == ""


def test_versions_of_programs_are_found_in_their_words() -> None:
    for words, version in ((b"runc version 1.1.5+ds1\n", b"1.1.5+ds1"), (b"conmon version 2.1.6", b"2.1.6")):
        match = probe._VERSION.search(words)
        assert match is not None and match[1] == version
