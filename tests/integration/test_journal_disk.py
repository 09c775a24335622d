"""The journal on a disk that fails: killed, refusing to write or sync, full; and audited while in use."""

import os
import signal
import subprocess
import sys
import threading

from vordr.formats.signature import PrivateKey, Suite
from vordr.journal.auditor import audit
from vordr.journal.batch import Group
from vordr.journal.store import JournalStore
from vordr.model.paths import Paths
from vordr.model.records import Cause, Draft, Kind

KEY = PrivateKey.from_seeds(Suite.ED25519, bytes(range(32)))

# What the children below have in common: a journal in argv[1], and append(kind, reserve).
PRELUDE = """
import ctypes, os, platform, resource, struct, sys
from pathlib import Path
from vordr.formats.signature import PrivateKey, Suite
from vordr.journal.batch import Group
from vordr.journal.store import JournalStore
from vordr.model.paths import Paths
from vordr.model.records import Cause, Draft, Kind
root = Path(sys.argv[1])
key = PrivateKey.from_seeds(Suite.ED25519, bytes(range(32)))
store = JournalStore.open(Paths(root, root / "run"), key)
def append(kind="begin", size=10, reserve=False):
    args = {"x": "x" * size}
    draft = Draft(txn="t", kind=Kind(kind), cause=Cause.ACT, subject="c", operation="op", args=args)
    try:
        (outcome,) = store.append_batch([Group((draft,), reserve=reserve)])
    except Exception as error:
        outcome = error
    return outcome[0].seq if isinstance(outcome, tuple) else type(outcome).__name__
def say(*words):
    print(*words, flush=True)
"""


def child(program, root, *, prefix=(), **options):
    command = [*prefix, sys.executable, "-c", PRELUDE + program, str(root)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True, **options)


def output(program, root, *, prefix=()):
    process = child(program, root, prefix=prefix)
    out, _ = process.communicate(timeout=60)
    assert process.returncode == 0
    return out.split()


def check(root):
    """The journal opens, and audits; gives its number of records."""
    paths = Paths(root, root / "run")
    assert audit(paths.journal, paths.journal_head, KEY.public).ok
    store = JournalStore.open(paths, KEY)
    size = store.size
    store.close()
    return size


def test_nothing_acknowledged_is_lost_when_the_writer_is_killed(tmp_path):
    acknowledged = 0
    for _ in range(5):
        process = child("while True: say(append(size=3000))", tmp_path)
        for line in process.stdout:
            acknowledged = int(line)
            if acknowledged % 97 == 0:
                os.kill(process.pid, signal.SIGKILL)
                break
        acknowledged = max([acknowledged, *map(int, process.stdout.read().split())])
        process.wait(10)
        assert check(tmp_path) >= acknowledged > 0


def test_a_failed_sync_stops_the_journal_for_good(tmp_path):
    # A seccomp filter lets fdatasync, by which LevelDB syncs its log, fail with EIO in this thread.
    words = output("""
NUMBER = {"x86_64": 75, "aarch64": 83}[platform.machine()]
program = b"".join(struct.pack("HBBI", *row) for row in [
    (0x20, 0, 0, 0), (0x15, 0, 1, NUMBER), (0x06, 0, 0, 0x00050000 | 5), (0x06, 0, 0, 0x7FFF0000)])
buffer = ctypes.create_string_buffer(program)
filter = struct.pack("HxxxxxxP", 4, ctypes.addressof(buffer))
libc = ctypes.CDLL(None, use_errno=True)
say(append())
assert libc.prctl(38, 1, 0, 0, 0) == 0
assert libc.prctl(22, 2, ctypes.c_char_p(filter), 0, 0) == 0, ctypes.get_errno()
say(append(), append(), store.size, store.get("heads/c"))
store.close()
""", tmp_path)
    assert words == ["1", "JournalStopped", "JournalStopped", "1", "1"]
    # Whether the second record reached the disk is unknown, and either is a sound journal.
    assert check(tmp_path) in (1, 2)


def test_a_failed_write_stops_the_journal_even_when_the_disk_recovers(tmp_path):
    words = output("""
say(append())
soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, hard))
say(append(size=50_000))
resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
say(append(), store.get("heads/c"))
""", tmp_path)
    assert words == ["1", "JournalStopped", "JournalStopped", "1"]
    assert check(tmp_path) == 1


def test_on_a_disk_really_full_begins_are_refused_and_open_acts_finish(tmp_path):
    mount = ["unshare", "-m", "--propagation", "private", "sh", "-ec",
             f'mount -t tmpfs -o size=64m none {tmp_path}; exec "$@"', "sh"]
    words = output("""
from vordr.journal.auditor import audit
MIB = 1 << 20
def fill(left):
    free = os.statvfs(root).f_bavail * os.statvfs(root).f_frsize - left
    fd = os.open(root / "ballast", os.O_CREAT | os.O_WRONLY | os.O_APPEND)
    os.posix_fallocate(fd, os.fstat(fd).st_size, free); os.close(fd)
say(append("begin"))
fill(10 * MIB)
say(append("begin"), append("intent", reserve=True))
fill(4096)
reserve = root / "journal/reserve"
say(append("failed", reserve=True), append("commit", 1_000_000, reserve=True), reserve.exists())
(root / "ballast").unlink()
say(append("begin"), append("begin"), reserve.exists())
store.close()
report = audit(root / "journal/db", root / "journal/head", key.public, scratch=Path("/var/tmp"))
say(report.ok, report.records)
""", tmp_path, prefix=mount)
    assert words == ["1", "JournalFull", "2", "3", "4", "False", "5", "6", "True", "True", "6"]


def test_a_journal_in_use_is_audited_without_disturbing_it(tmp_path):
    paths = Paths(tmp_path, tmp_path / "run")
    store = JournalStore.open(paths, KEY)
    stop = threading.Event()
    failures = []

    def write():
        number = 0
        while not stop.is_set():
            number += 1
            filler = os.urandom(20_000).hex()
            args = {"x": filler, "writes": {f"refs/{number % 9}": filler}}
            draft = Draft(txn=f"t{number}", kind=Kind.ANOMALY, cause=Cause.MONITOR, subject="c",
                          operation="op", args=args)
            failures.extend(o for o in store.append_batch([Group((draft,))] * 8) if not isinstance(o, tuple))

    writer = threading.Thread(target=write)
    writer.start()
    try:
        sizes = []
        while len(sizes) < 6 or sizes[-1] < 1500:  # far beyond one memtable: files come and go meanwhile
            report = audit(paths.journal, paths.journal_head, KEY.public)
            assert report.ok, report.reason
            sizes.append(report.records)
    finally:
        stop.set()
        writer.join()
    assert sizes == sorted(sizes)
    assert not failures
    second = subprocess.run(
        [sys.executable, "-c", PRELUDE, str(tmp_path)], capture_output=True, text=True, timeout=60)
    assert f"in use by process {os.getpid()}" in second.stderr  # the audit has not dropped our lock
    store.close()
