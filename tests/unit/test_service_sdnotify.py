from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest

from vordr.service import sdnotify


def listener(address: str) -> socket.socket:
    listening = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    listening.bind(address)
    listening.settimeout(10)
    return listening


def test_words_reach_a_socket_by_path(tmp_path: Path) -> None:
    with listener(str(tmp_path / "n")) as systemd:
        assert sdnotify.Notifier({"NOTIFY_SOCKET": str(tmp_path / "n")}).tell(sdnotify.READY, "STATUS=on")
        assert systemd.recv(100) == b"READY=1\nSTATUS=on"


def test_words_reach_an_abstract_socket() -> None:
    name = f"vordr-test-{os.getpid()}"
    with listener(f"\0{name}") as systemd:
        assert sdnotify.Notifier({"NOTIFY_SOCKET": f"@{name}"}).tell(sdnotify.STOPPING)
        assert systemd.recv(100) == b"STOPPING=1"


@pytest.mark.parametrize("address", ["", "relative", "vsock:2:1234", "/nowhere/at/all"])
def test_nobody_listening_is_no_error(address: str) -> None:
    assert not sdnotify.Notifier({"NOTIFY_SOCKET": address}).tell(sdnotify.READY)


def test_the_variables_are_taken_so_that_children_do_not_speak_for_us() -> None:
    environment = {"NOTIFY_SOCKET": "/x", "WATCHDOG_USEC": "4000000", "WATCHDOG_PID": "1", "PATH": "/bin"}
    sdnotify.Notifier(environment)
    assert environment == {"PATH": "/bin"}


@pytest.mark.parametrize(("variables", "period"), [
    ({"WATCHDOG_USEC": "4000000"}, 2.0),
    ({"WATCHDOG_USEC": "4000000", "WATCHDOG_PID": str(os.getpid())}, 2.0),
    ({"WATCHDOG_USEC": "4000000", "WATCHDOG_PID": "1"}, None),
    ({"WATCHDOG_USEC": "soon"}, None),
    ({"WATCHDOG_USEC": "0"}, None),
    ({}, None),
])
def test_signs_of_life_are_due_twice_per_watchdog_period_if_it_is_ours(
    variables: dict[str, str], period: float | None
) -> None:
    assert sdnotify.Notifier({"NOTIFY_SOCKET": "/x", **variables}).period == period
