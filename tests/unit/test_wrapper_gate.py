"""The gate's reading of command lines, configuration and stores: strict, and believing no annotation."""

from __future__ import annotations

import json
import re
import signal
import socket
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from vordr.images import layout
from vordr.wrapper import containerd, identity, storage, words
from vordr.wrapper.config import Config, Store, load, parse
from vordr.wrapper.identity import read_bundle
from vordr.wrapper.refusal import Malformed, Refusal

A, B, IMAGE, CONTAINER = "a" * 64, "b" * 64, "c" * 64, "d" * 64


# -- command lines ---------------------------------------------------------------------------------


@pytest.mark.parametrize(("line", "bundle"), [
    ("create --bundle /b --pid-file /p web", "/b"),
    ("--root /r --log /l --log-format json create --bundle=/b --console-socket /s --no-pivot web", "/b"),
    ("--systemd-cgroup --root=/r run -b /b -d web", "/b"),
    ("restore --image-path /i --work-path /w --detach --bundle /b web", "/b"),
    ("create web", None),
])
def test_the_callers_command_lines_are_read(line, bundle):
    told = words.read(line.split())
    assert (told.bundle, told.ident) == (bundle, "web") and told.command in words.JUDGED


@pytest.mark.parametrize("line", [
    "create", "create web other", "create --config /evil.json web", "create -f /evil.json web",
    "create --bundle /a --bundle /b web", "create --bundle /a -b /b web", "create --bundle",
    "create -bundle /b web", "create --image-path /i web", "--new create web", "-- create web",
    "create -- web", "create web --bundle /b",
])
def test_a_command_line_that_is_not_known_to_the_end_is_refused(line):
    with pytest.raises(Malformed):
        words.read(line.split())


def test_the_log_is_found_for_the_refusal():
    assert words.log_of(["--root", "/r", "--log", "/l", "create", "x"]) == "/l"
    assert words.log_of(["--log=/l", "create", "x"]) == "/l"
    assert words.log_of(["create", "--log", "x"]) is None


# -- configuration ---------------------------------------------------------------------------------


@pytest.mark.parametrize("text", [
    "verify = false", 'deadline = 0', 'deadline = true', 'deadline = 61', 'runtime = "runc"',
    'sandboxes = "all"', 'sandboxes = ["*"]', f'sandboxes = ["{A}"]', f'sandboxes = ["sha256:{A.upper()}"]',
    '[[stores]]\nroot = "/r"', '[[stores]]\nroot = "/r"\nrun = "/u"\ntrusted = true', "not toml",
    "deadline = " + "[" * 9999 + "]" * 9999,
])
def test_what_a_configuration_may_not_say(text):
    with pytest.raises((Malformed, ValueError)):
        parse(text)


def test_no_configuration_means_the_hosts_own_places(tmp_path):
    assert load(str(tmp_path / "none")) == Config()
    assert Config().stores[0].root == "/var/lib/containers/storage"


def test_a_configuration_that_others_may_write_is_refused(tmp_path):
    place = tmp_path / "runtime.toml"
    place.write_text("deadline = 5\n")
    assert load(str(place)).deadline == 5
    place.chmod(0o664)
    with pytest.raises(Malformed, match="written by others"):
        load(str(place))


# -- containers/storage ----------------------------------------------------------------------------


class Shelf:
    """A store with one container of an image of two layers."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.containers = [{"id": CONTAINER, "image": IMAGE, "layer": "upper"}]
        self.images = [{"id": IMAGE, "digest": f"sha256:{B}", "layer": "two"}]
        self.layers = [
            {"id": "one", "diff-digest": f"sha256:{A}"},
            {"id": "two", "parent": "one", "diff-digest": f"sha256:{B}"},
            {"id": "upper", "parent": "two"}]
        self.bundle = root / "overlay-containers" / CONTAINER / "userdata"
        self.rootfs = root / "overlay" / "upper" / "merged"
        self.annotations = {"io.kubernetes.cri-o.ImageName": "trusted"}

    def write(self) -> None:
        for kind in ("containers", "images", "layers"):
            place = self.root / f"overlay-{kind}" / f"{kind}.json"
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_text(json.dumps(getattr(self, kind)))
        self.bundle.mkdir(parents=True, exist_ok=True)
        (self.bundle / "config.json").write_text(
            json.dumps({"root": {"path": str(self.rootfs)}, "annotations": self.annotations}))

    def resolve(self) -> identity.Identity | None:
        self.write()
        store = Store(str(self.root), str(self.root / "run"))
        return storage.resolve(store, read_bundle(str(self.bundle)), CONTAINER)


@pytest.fixture
def shelf(tmp_path: Path) -> Shelf:
    return Shelf(tmp_path / "store")


def test_a_container_is_bound_to_its_images_layers(shelf):
    chain = layout.chain_id([f"sha256:{A}", f"sha256:{B}"])
    assert shelf.resolve() == ("containers-storage", chain, f"sha256:{IMAGE}", f"sha256:{B}")


def test_both_computations_of_a_chain_id_agree():
    for count in (1, 2, 5):
        ids = [f"sha256:{number:064x}" for number in range(count)]
        assert identity.chain_id(ids) == layout.chain_id(ids)


def _swap_root(shelf: Shelf) -> None:
    shelf.rootfs = shelf.root / "elsewhere"


def _swap_parent(shelf: Shelf) -> None:
    shelf.layers[2]["parent"] = "one"


def _no_image(shelf: Shelf) -> None:
    shelf.containers[0]["image"] = ""


@pytest.mark.parametrize("change", [_swap_root, _swap_parent, _no_image])
def test_what_is_only_named_is_refused_by_that_word(shelf, change):
    change(shelf)
    with pytest.raises(Refusal, match="'trusted' is named, not bound"):
        shelf.resolve()


@pytest.mark.parametrize("change", [
    lambda s: s.containers.append(s.containers[0]), lambda s: s.images.clear(),
    lambda s: s.layers[0].pop("diff-digest"), lambda s: s.layers[0].update(parent="two"),
    lambda s: s.containers.clear()])
def test_a_store_that_does_not_fit_together_is_refused(shelf, change):
    change(shelf)
    with pytest.raises(Malformed):
        shelf.resolve()


def test_a_store_that_others_may_write_is_refused(shelf):
    shelf.resolve()
    (shelf.root / "overlay-images").chmod(0o777)
    with pytest.raises(Malformed, match="written by others"):
        shelf.resolve()


def test_a_bundle_of_another_place_is_not_of_this_store(shelf, tmp_path):
    shelf.bundle = tmp_path / "bundle"
    assert shelf.resolve() is None


# -- containerd ------------------------------------------------------------------------------------


def test_a_mount_is_compared_by_its_folders():
    line = "mount -t overlay overlay /x -o index=off,workdir=/s/2/work,upperdir=/s/2/fs,lowerdir=/s/1/fs\n"
    table = "1 2 0:3 / /b/rootfs rw - overlay overlay rw,lowerdir={},upperdir=/s/2/fs,workdir=/s/2/work\n"
    wanted = containerd.mount_options(line)
    assert wanted == containerd.overlay_at(table.format("/s/1/fs"), "/b/rootfs")
    assert wanted != containerd.overlay_at(table.format("/evil"), "/b/rootfs")
    assert wanted != containerd.overlay_at(table.format("/s/1/fs") + table.format("/evil"), "/b/rootfs")
    assert containerd.overlay_at(table.format("/s/1/fs"), "/b/other") == {}
    assert containerd.overlay_at("1 2 0:3 / /b/rootfs rw - ext4 /dev/sda rw\n", "/b/rootfs") == {}
    assert containerd.mount_options("mount -t bind /s/1/fs /x -o ro,rbind") == {}


# -- the whole gate --------------------------------------------------------------------------------


def gate(shelf: Shelf, runtime: Path, *, deadline: int = 1) -> subprocess.CompletedProcess[str]:
    """The gate as the launcher calls it, on the shelf's container, with a service in the shelf's folder."""
    shelf.resolve()
    config = shelf.root / "runtime.toml"
    config.write_text(f'root = "{shelf.root}"\ndeadline = {deadline}\n[[stores]]\nroot = "{shelf.root}"\n'
                      f'run = "{shelf.root}/run"\n')
    return subprocess.run(
        [sys.executable, "-I", "-c", "import sys; from vordr.wrapper.gate import main; main(sys.argv[1:])",
         str(config), str(runtime), "--log", str(shelf.root / "log"), "--log-format", "json", "create",
         "--bundle", str(shelf.bundle), CONTAINER],
        capture_output=True, text=True, check=False, env={}, timeout=30)


def test_a_service_that_never_answers_is_waited_for_until_the_deadline(shelf, tmp_path):
    shelf.root.mkdir()
    runtime = tmp_path / "runtime"
    runtime.write_text(f"#!/bin/sh\ntouch {tmp_path}/ran\n")
    runtime.chmod(0o755)
    with socket.socket(socket.AF_UNIX) as silent:
        silent.bind(str(shelf.root / "vordr.sock"))
        silent.listen()
        ran = gate(shelf, runtime)
    assert ran.returncode == 1 and "no decision within 1 seconds" in ran.stderr
    assert not (tmp_path / "ran").exists()


def test_a_refusal_is_one_json_line_in_the_log_and_nothing_on_standard_output(shelf, tmp_path):
    ran = gate(shelf, tmp_path / "runtime")
    (line,) = (shelf.root / "log").read_text().splitlines()
    told = json.loads(line)
    assert (ran.returncode, ran.stdout, told["level"]) == (1, "", "error")
    assert told["msg"] == ran.stderr.strip() and "UNREACHABLE" in told["msg"]


@pytest.mark.parametrize("answer", [
    {"id": 1, "answer": {}}, {"id": 1, "answer": {"decision": "REJECT"}},
    {"id": 2, "answer": {"decision": "ALLOW"}},
    {"id": 1, "answer": {"decision": "allow"}}, {"id": 1, "answer": "ALLOW"}, {"decision": "ALLOW"}, []])
def test_an_answer_that_does_not_allow_refuses(shelf, tmp_path, answer):
    shelf.root.mkdir()
    with socket.socket(socket.AF_UNIX) as odd:
        odd.bind(str(shelf.root / "vordr.sock"))
        odd.listen()

        def serve() -> None:
            line, _ = odd.accept()
            with line:
                line.recv(65536)
                body = json.dumps(answer).encode()
                line.sendall(len(body).to_bytes(4, "big") + body)

        serving = threading.Thread(target=serve, daemon=True)
        serving.start()
        ran = gate(shelf, tmp_path / "runtime", deadline=20)
        serving.join(20)
    assert ran.returncode == 1 and "UNREACHABLE" in ran.stderr


def test_an_allowed_container_is_made_in_the_same_words_by_a_clean_process(shelf, tmp_path):
    """No socket is left open in the runtime, and no signal ignored that was not before."""
    shelf.root.mkdir()
    runtime = tmp_path / "runtime"
    runtime.write_text(
        '#!/bin/sh\necho "$@"\nls -l /proc/self/fd | grep -c socket\ngrep SigIgn /proc/self/status\n')
    runtime.chmod(0o755)
    with socket.socket(socket.AF_UNIX) as kind:
        kind.bind(str(shelf.root / "vordr.sock"))
        kind.listen()

        def serve() -> None:
            line, _ = kind.accept()
            with line:
                line.recv(65536)
                body = b'{"id":1,"answer":{"decision":"ALLOW"}}'
                line.sendall(len(body).to_bytes(4, "big") + body)

        threading.Thread(target=serve, daemon=True).start()
        ran = gate(shelf, runtime, deadline=20)
    said, sockets, ignored = ran.stdout.splitlines()
    assert said.endswith(f"create --bundle {shelf.bundle} {CONTAINER}")
    # Launchers ignore some: nohup SIGHUP, others 32 and 33, which are the C library's own. Python, which runs
    # this test and the gate, ignores two, and those must not be.
    pythons = {signal.SIGPIPE, signal.SIGXFSZ}
    before = _ignored(Path("/proc/self/status").read_text()) - pythons
    assert (sockets, _ignored(ignored) - before) == ("0", set())


def _ignored(status):
    """The numbers of the signals that a process ignores."""
    (mask,) = re.findall(r"SigIgn:\s+([0-9a-f]+)", status)
    return {number for number in range(1, 65) if int(mask, 16) >> number - 1 & 1}


# -- the hook --------------------------------------------------------------------------------------

HOOK = Path(__file__).resolve().parents[2] / "bin" / "vordr-hook"


def hook(shelf: Shelf, state: str) -> subprocess.CompletedProcess[str]:
    shelf.write()
    config = shelf.root / "runtime.toml"
    config.write_text(f'root = "{shelf.root}"\n[[stores]]\nroot = "{shelf.root}"\nrun = "{shelf.root}/run"\n')
    return subprocess.run([sys.executable, HOOK, "--config", config], input=state, capture_output=True,
                          text=True, check=False, timeout=30)


def test_the_hook_exits_3_when_nobody_can_be_asked_and_1_when_the_image_is_only_named(shelf):
    state = json.dumps(
        {"id": CONTAINER, "bundle": str(shelf.bundle), "annotations": {"vordr.verified": "true"}})
    unasked = hook(shelf, state)
    assert (unasked.returncode, unasked.stdout) == (3, "") and "UNREACHABLE" in unasked.stderr
    _swap_root(shelf)
    assert hook(shelf, state).returncode == 1


@pytest.mark.parametrize("state", [
    "", "[]", "{}", '{"id": "x"}', '{"id": "x", "bundle": "relative"}', '{"id": "x", "bundle": "/nowhere"}',
    '{"id": 1, "bundle": "/"}', "[" * 100_000])
def test_the_hook_exits_2_for_a_state_that_is_none(shelf, state):
    assert hook(shelf, state).returncode == 2
