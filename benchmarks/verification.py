"""What verification costs: of a large package against hashing it, of a known one, of the gate before runc."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path

from figures import Figure, held, median
from host import VORDR, Host

from vordr.engine.local import LocalEngine
from vordr.model import arguments

LARGE = int(os.environ.get("VORDR_LARGE", 500 << 20))
"""Bytes of the package."""
_ROUNDS = 5
_WARM = 200
_GATE = Path(__file__).resolve().parents[1] / "bin" / "vordr-runtime"
_RUNC = "/usr/sbin/runc"


def measure(host: Host, runs: int) -> list[Figure]:
    return [*_large(host), *_warm(host, runs), *_gate(host, runs)]


def _large(host: Host) -> list[Figure]:
    """Nothing of it is in the store: each time every byte is hashed. Also what the service needs for it."""
    tree = host.folder / "large"
    tree.mkdir()
    with (tree / "blob").open("wb") as file:
        for _ in range(LARGE >> 20):
            file.write(os.urandom(1 << 20))
    host.call(VORDR, "pack", "large", "large.ctp", "--name", "large")
    shutil.rmtree(tree)
    verify, hashed = (VORDR, "verify", "large.ctp"), ("openssl", "dgst", "-sha256", "large.ctp")
    took: dict[tuple[object, ...], list[float]] = {verify: [], hashed: []}
    for _ in range(_ROUNDS):
        for words, times in took.items():
            times.append(host.time(words).wall)
    (host.folder / "large.ctp").unlink()
    floor = Figure(f"openssl dgst -sha256, {LARGE >> 20} MiB", median(took[hashed]), "ms")
    pid = host.service_pid()
    host.call(VORDR, "pack", "rootfs", "small.ctp", "--name", "small")
    small = (VORDR, "verify", "small.ctp")
    alone = Figure("vordr verify of a small one", median(host.time(small).wall for _ in range(_ROUNDS)), "ms")
    return [
        floor,
        held("vordr verify of that package", median(took[verify]), "ms", floor, bound=0.8, least=True),
        alone,
        held("what the large one takes longer", median(took[verify]) - alone.value, "ms", floor, least=True),
        Figure("most memory of the service by then", _peak(pid) / 1024 if pid else 0, "MiB"),
    ]


def _peak(pid: int) -> float:
    """KiB: proc(5), VmHWM, which counts what the process and others share, too."""
    text = Path(f"/proc/{pid}/status").read_text()
    return float(next(line for line in text.splitlines() if line.startswith("VmHWM:")).split()[1])


def _warm(host: Host, runs: int) -> list[Figure]:
    """The verdict on an image that was judged before, as every start asks for it, and its share of a run."""
    root = host.folder / "judged"
    took: list[float] = []
    with LocalEngine.open(root) as engine:
        engine.trust_init("Benchmark")
        package = host.folder / "judged.ctp"
        engine.pack(host.rootfs, package, name="demo", command=("/bin/true",))
        engine.run(str(package), auto_remove=True)
        whole = []
        for _ in range(runs):
            started = time.perf_counter()
            engine.run("demo", auto_remove=True)
            whole.append((time.perf_counter() - started) * 1000)
        (image,) = engine.call("images", arguments.ImagesArgs()).answer.images
        for _ in range(_WARM):
            started = time.perf_counter()
            engine.host.library.judge_manifest(image.manifest)
            took.append((time.perf_counter() - started) * 1000)
    subprocess.run(["chattr", "-R", "-i", root / "layers"], capture_output=True, check=False)
    run = Figure("run, in process", median(whole), "ms")
    return [
        Figure("a verdict that is known", median(took), "ms", bound=1.0), run,
        held("its share of a run", median(took), "ms", run, bound=0.02),
    ]


def _gate(host: Host, runs: int) -> list[Figure]:
    """The gate before runc, against runc alone; creating by way of podman, which tells it of the image."""
    found: list[Figure] = []
    bundle = host.folder / "bare-bundle"
    bundle.mkdir()
    subprocess.run([_RUNC, "spec", "--bundle", bundle], check=True)
    config = json.loads((bundle / "config.json").read_text())
    config["root"] = {"path": str(host.rootfs), "readonly": True}
    config["process"] |= {"terminal": False, "args": ["/bin/busybox", "sleep", "1000000"]}
    config["process"].pop("rlimits", None)
    (bundle / "config.json").write_text(json.dumps(config))
    state = ["--root", str(host.folder / "bare")]
    subprocess.run([_RUNC, *state, "run", "--detach", "--bundle", bundle, "bare"], check=True,
                   stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        for words in (["exec", "bare", "/bin/true"], ["kill", "bare", "CONT"]):
            found += _beside(
                host, words[0], [_RUNC, *state, *words], [_GATE, *state, *words], runs, bound=5.0)
    finally:
        subprocess.run([_RUNC, *state, "delete", "--force", "bare"], check=True)
    launcher = host.folder / "vordr-runtime"
    shutil.copy(_GATE, launcher)
    host.call(VORDR, "system", "integrate", "podman", "--launcher", launcher, "--runtime", _RUNC,
              "--prefix", host.folder, "--write")
    (host.folder / "vordr-runtime.toml").write_text(
        (host.folder / "etc/vordr/runtime.toml").read_text()
        + f'[[stores]]\nroot = "{host.folder}/p"\nrun = "{host.folder}/pr"\n')
    host.call(*host.podman, "save", "--format", "oci-archive", "-o", host.folder / "hello.tar", "hello")
    host.call(VORDR, "adopt", "--name", "hello", host.folder / "hello.tar")
    run = ["run", "--rm", "--network=none", "localhost/hello", "/bin/true"]
    return found + _beside(host, "podman run", [*host.podman, *run],
                           [*host.podman, "--runtime", launcher, *run], runs)


def _beside(
    host: Host, name: str, bare: Sequence[object], gated: Sequence[object], runs: int,
    bound: float | None = None,
) -> list[Figure]:
    took: tuple[list[float], list[float]] = ([], [])
    for _ in range(runs):
        for words, times in zip((bare, gated), took, strict=True):
            times.append(host.time(words).wall)
    alone = Figure(f"{name} with runc", median(took[0]), "ms")
    return [alone, held(f"{name} with vordr-runtime", median(took[1]), "ms", alone),
            Figure(f"what the gate adds to {name}", median(took[1]) - median(took[0]), "ms", bound=bound)]
