"""The story of Vörðr in one minute, told by the command line on a real, signed container.

It lives in a root folder of its own and takes everything away again. Needs root, Debian's busybox-static and
what `make deps` installs. Ends non-zero as soon as something is not as it should be.
"""

from __future__ import annotations

import json
import os
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

VORDR = Path(sys.executable).with_name("vordr")
APPLETS = ("sh", "cat", "date", "echo", "grep", "hostname", "id", "ls", "ps", "sleep", "touch", "wget")
BOLD, DIM, GREEN, RED, PLAIN = ("\033[1m", "\033[2m", "\033[32m", "\033[31m", "\033[0m")
if not sys.stdout.isatty():
    BOLD = DIM = GREEN = RED = PLAIN = ""


class Stage:
    """Runs commands as a person would type them, shows them, and checks how they end."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.environment = {**os.environ, "VORDR_ROOT": str(folder / "root")}

    def say(self, text: str) -> None:
        print(f"\n{BOLD}{text}{PLAIN}", flush=True)

    def run(self, line: str, *, code: int = 0, show: bool = True) -> str:
        """Run ``vordr LINE`` and show it; its output. Raises SystemExit when it ends with another code."""
        if show:
            print(f"{DIM}$ vordr {line}{PLAIN}", flush=True)
        done = subprocess.run(
            [VORDR, *shlex.split(line)], cwd=self.folder, env=self.environment, text=True,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL, check=False)
        if show and done.stdout:
            print("  " + done.stdout.rstrip().replace("\n", "\n  "), flush=True)
        if done.returncode != code:
            raise SystemExit(f"{RED}expected exit code {code}, got {done.returncode}{PLAIN}\n{done.stdout}")
        if code:
            print(f"  {GREEN}refused, as it should be (exit code {code}){PLAIN}")
        return done.stdout

    def expect(self, holds: bool, claim: str) -> None:
        print(f"  {GREEN}✓{PLAIN} {claim}" if holds else f"  {RED}✗ {claim}{PLAIN}", flush=True)
        if not holds:
            raise SystemExit(1)

    def inspect(self, container: str) -> dict[str, object]:
        found: dict[str, object] = json.loads(self.run(f"inspect --json {container}", show=False))
        return found


def make_rootfs(folder: Path) -> Path:
    """A root file system of nothing but Debian's static busybox."""
    rootfs = folder / "rootfs"
    for part in ("bin", "etc", "proc", "sys", "dev", "tmp", "root"):
        (rootfs / part).mkdir(parents=True)
    busybox = shutil.which("busybox") or "/bin/busybox"
    shutil.copy(busybox, rootfs / "bin" / "busybox")
    for applet in APPLETS:
        (rootfs / "bin" / applet).symlink_to("busybox")
    (rootfs / "etc" / "passwd").write_text("root:x:0:0:root:/root:/bin/sh\n")
    (rootfs / "etc" / "group").write_text("root:x:0:\n")
    return rootfs


def flip(path: Path, offset: int) -> None:
    """Change one bit of a file."""
    with open(path, "r+b") as file:
        file.seek(offset)
        byte = file.read(1)[0]
        file.seek(offset)
        file.write(bytes([byte ^ 1]))


def tell(stage: Stage) -> None:
    folder = stage.folder
    stage.say("1. Whom does this host trust? Make keys, three local logs, a trust store.")
    stage.run("trust init --owner 'Demo Operator'")

    stage.say("2. Pack an image: provenance, SBOM, signature, log entries, all in one file.")
    make_rootfs(folder)
    stage.run("pack rootfs hello.ctp --name hello --cmd /bin/sh --cmd -c "
              "--cmd 'while true; do date; sleep 1; done'")
    stage.run("verify hello.ctp")

    stage.say("3. Run it. Nothing runs unverified, and root inside is nobody outside.")
    stage.run("run -d --name web hello.ctp")
    stage.run("ps")
    pid = stage.inspect("web")["pid"]
    uid_map = Path(f"/proc/{pid}/uid_map").read_text().split()
    stage.expect(int(uid_map[1]) != 0, f"uid 0 of the container is uid {uid_map[1]} of the host")
    stage.run("exec web /bin/sh -c 'echo I was here > /note'")
    before = stage.inspect("web")

    stage.say("4. Pause and go on; stop, and think again.")
    stage.run("pause web")
    stage.run("unpause web")
    stage.run("stop -t 1 web")
    stage.run("undo --last --yes")
    stage.expect(stage.inspect("web")["state"] == "running", "it runs again")

    stage.say("5. The worst: rm -f on the wrong container.")
    stage.run("rm -f web")
    stage.run("ps -a")
    stage.run("undo --last --yes")
    after = stage.inspect("web")
    stage.expect(after["state"] == "running", "running again")
    stage.expect(after["id"] == before["id"] and after["name"] == before["name"], "same id, same name")
    note = stage.run("exec web cat /note", show=False)
    stage.expect(note == "I was here\n", "its files are back")

    stage.say("6. A copy of the package with one bit changed.")
    shutil.copy(folder / "hello.ctp", folder / "evil.ctp")
    flip(folder / "evil.ctp", (folder / "evil.ctp").stat().st_size // 2)
    stage.run("run --rm evil.ctp true", code=34)

    stage.say("7. A bit flipped in a stored layer, by somebody with root, while nobody looks.")
    layer = next((folder / "root" / "layers").glob("*.erofs"))
    stage.run("stop -t 1 web")
    subprocess.run(["chattr", "-i", str(layer)], check=True)
    flip(layer, layer.stat().st_size // 2)
    stage.run("start web", code=52)

    stage.say("8. What happened here? The record, and whether anybody touched it.")
    stage.run("history")
    stage.run("audit --chain")


def take_away(stage: Stage) -> None:
    """End the demo's containers and its service, and remove its folder."""
    subprocess.run([VORDR, "rm", "-f", "web"], env=stage.environment, check=False, capture_output=True)
    told = subprocess.run(
        [VORDR, "version", "--json"], env=stage.environment, check=False, capture_output=True, text=True)
    try:
        pid = int(json.loads(told.stdout)["service"]["pid"])
        os.kill(pid, signal.SIGTERM)
        for _ in range(100):
            os.kill(pid, 0)
            time.sleep(0.05)
    except (ProcessLookupError, ValueError, KeyError, TypeError):
        pass
    subprocess.run(["chattr", "-R", "-i", str(stage.folder / "root" / "layers")], check=False,
                   capture_output=True)
    shutil.rmtree(stage.folder, ignore_errors=True)


def main() -> None:
    started = time.monotonic()
    stage = Stage(Path(tempfile.mkdtemp(prefix="vordr-demo-")))
    stage.folder.chmod(0o711)
    try:
        tell(stage)
        seconds = time.monotonic() - started
        print(f"\n{BOLD}{GREEN}Everything held.{PLAIN} {seconds:.1f} s. Next: README.md, `vordr --help`.")
    finally:
        take_away(stage)


if __name__ == "__main__":
    main()
