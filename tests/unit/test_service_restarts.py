from __future__ import annotations

import os
from pathlib import Path

import vordr
from vordr.service.keeper import INTENSITY, PERIOD, RestartWindow, leave_cgroups

REPOSITORY = Path(__file__).resolve().parents[2]


def test_restarts_wait_longer_each_time_and_end_after_five() -> None:
    window = RestartWindow()
    delays = [window.delay(now) for now in range(INTENSITY + 1)]
    assert delays == [0.1, 0.2, 0.4, 0.8, 1.6, None]


def test_a_quiet_minute_forgives() -> None:
    window = RestartWindow()
    for now in range(INTENSITY):
        window.delay(float(now))
    assert window.delay(PERIOD - 0.5) is None
    assert window.delay(PERIOD) is not None
    assert window.delay(3 * PERIOD) == 0.1


def test_the_delay_has_an_upper_bound() -> None:
    window = RestartWindow(intensity=20)
    assert max(window.delay(0.0) or 0.0 for _ in range(20)) == 5.0


def hierarchy(folder: Path) -> None:
    """A mounted hierarchy as far as it matters here; in a group of its own the file of processes appears."""
    (folder / "vordr" / "service").mkdir(parents=True)
    (folder / "cgroup.procs").touch()


def test_the_keeper_moves_into_its_own_group_of_each_hierarchy_but_cpuset(tmp_path: Path) -> None:
    for name in ("systemd", "pids", "cpu,cpuacct", "cpuset", "unified"):
        hierarchy(tmp_path / name)
    own = tmp_path / "own"
    own.write_text("5:cpuset:/u\n4:cpu,cpuacct:/u\n3:pids:/u\n2:absent:/u\n1:name=systemd:/u\n0::/u\n")
    assert leave_cgroups(tmp_path, own) == ["cpu,cpuacct", "pids", "name=systemd", "unified"]
    assert (tmp_path / "unified" / "vordr" / "service" / "cgroup.procs").read_text() == "0"
    assert not (tmp_path / "cpuset" / "vordr" / "service" / "cgroup.procs").exists()


def test_on_a_unified_host_the_group_is_below_the_one_mount(tmp_path: Path) -> None:
    hierarchy(tmp_path)
    own = tmp_path / "own"
    own.write_text("0::/user.slice/session-1.scope\n")
    assert leave_cgroups(tmp_path, own) == ["unified"]


def test_a_host_without_cgroups_keeps_the_service_where_it_is(tmp_path: Path) -> None:
    own = tmp_path / "own"
    own.write_text("1:pids:/u\n0::/u\n")
    assert leave_cgroups(tmp_path, own) == []


def test_the_packaged_systemd_unit_is_the_one_in_config() -> None:
    packaged = Path(vordr.__file__).parent / "data" / "vordr.service"
    assert packaged.read_bytes() == (REPOSITORY / "config" / "systemd" / "vordr.service").read_bytes()


def test_the_systemd_unit_lets_containers_outlive_the_service() -> None:
    lines = (REPOSITORY / "config" / "systemd" / "vordr.service").read_text().split(os.linesep)
    assert {"Type=notify", "KillMode=process", "RuntimeDirectoryPreserve=yes"} <= set(lines)
    private = ("ProtectSystem", "ProtectHome", "PrivateTmp", "PrivateDevices", "ReadWritePaths")
    assert not [line for line in lines if line.startswith(private)]
