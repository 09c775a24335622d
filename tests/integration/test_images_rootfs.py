"""Root file systems on the real kernel: layers, generations, owners, and nothing left behind."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
from images_world import FOLDER, IDS, entry, instance, layer_of, mounts_below, tar_of, verdict_over

from vordr.images import loop, mountapi, rootfs, seal, userns
from vordr.images.generations import (
    drop_generation,
    open_generation,
    restore_generation,
    upper_folder,
    work_folder,
)
from vordr.images.mount_namespace import MountNamespace
from vordr.images.store import ImageStore
from vordr.model.errors import RuntimeFailed, SealBroken, StateError
from vordr.model.paths import Paths
from vordr.model.spec import IdRange
from vordr.model.state import Layer

C = "c" * 64
D = "d" * 64
OTHER = IdRange(4_000_000)
TARS = (
    tar_of(
        entry("./", type=FOLDER, mode=0o755),
        entry("a/one", b"1", uid=10),
        entry("a/two", b"2"),
        entry("b/x", b"x"),
        entry("d/old", b"o"),
        entry("same", b"bottom"),
    ),
    tar_of(
        entry("a/.wh.two"),
        entry("b/.wh..wh..opq"),
        entry("b/y", b"y"),
        entry("d", type=FOLDER),
        entry(".wh.d"),
        entry("same", b"top"),
    ),
)


class Stack:
    """Two sealed layers of an instance, opened for a mount."""

    def __init__(self, paths: Paths, tars: Sequence[bytes] = TARS) -> None:
        store = ImageStore(paths)
        store.prepare()
        self.paths = paths
        self.layers: list[Layer] = [layer_of(store, tar) for tar in tars]
        self.descriptors: list[int] = []
        sealed = {layer.diff_id: seal.seal_layer(store, layer, paths) for layer in self.layers}
        self.descriptors = [seal.open_sealed(paths, sealed[layer.diff_id]) for layer in self.layers]

    def mount(
        self, *generations: int, container: str = C, ids: IdRange = IDS, read_only: bool = False
    ) -> Path:
        return rootfs.mount_rootfs(
            self.paths, container, self.descriptors, generations, ids, verdict_over(self.layers), read_only
        )

    def unmount(self, container: str = C) -> None:
        rootfs.unmount_rootfs(self.paths, container)

    def close(self) -> None:
        for descriptor in self.descriptors:
            os.close(descriptor)


@pytest.fixture
def stack(tmp_path: Path) -> Iterator[Stack]:
    with instance(tmp_path) as paths:
        made = Stack(paths)
        open_generation(paths, C, 1, IDS)
        yield made
        made.close()


def tree(root: Path) -> dict[str, bytes]:
    return {str(path.relative_to(root)): path.read_bytes() for path in root.rglob("*") if path.is_file()}


def test_layers_whiteouts_and_opaque_folders_merge_as_oci_says(stack: Stack) -> None:
    assert tree(stack.mount(1)) == {"a/one": b"1", "b/y": b"y", "same": b"top"}


def test_ids_of_layers_are_shifted_into_the_range_and_new_files_belong_to_it(stack: Stack) -> None:
    root = stack.mount(1)
    assert (root / "a/one").stat().st_uid == IDS.first + 10
    assert root.stat().st_uid == root.stat().st_gid == IDS.first
    script = "echo new > new; echo more >> a/one; rm same; mkdir folder"
    with mountapi.closing(userns.make_user_namespace(IDS)) as namespace:
        inside = ["nsenter", f"--user=/proc/self/fd/{namespace}", "-S0", "-G0", f"--wd={root}"]
        subprocess.run([*inside, "sh", "-c", script], check=True, pass_fds=(namespace,))
    assert (root / "new").stat().st_uid == IDS.first and (root / "folder").stat().st_uid == IDS.first
    assert (root / "a/one").read_bytes() == b"1more\n" and (root / "a/one").stat().st_uid == IDS.first + 10
    assert not (root / "same").exists()


def test_two_containers_share_sealed_files_but_neither_owners_nor_writes(stack: Stack) -> None:
    open_generation(stack.paths, "other", 1, OTHER)
    mine, theirs = stack.mount(1), stack.mount(1, container="other", ids=OTHER)
    (mine / "same").write_text("mine")
    assert (theirs / "same").read_text() == "top"
    assert (theirs / "same").stat().st_uid == OTHER.first
    assert sorted(rootfs.mounted_containers(stack.paths)) == sorted((C, "other"))


def test_a_lower_file_shows_another_device_than_a_written_one(stack: Stack) -> None:
    root = stack.mount(1)
    (root / "new").write_text("x")
    devices = {(root / name).stat().st_dev for name in ("a/one", "b/y", "new", ".")}
    assert len(devices) == 4


def test_generations_stack_and_going_back_drops_the_top(stack: Stack) -> None:
    paths = stack.paths
    root = stack.mount(1)
    (root / "first").write_text("1")
    (root / "a/one").unlink()
    shutil.rmtree(root / "b")
    stack.unmount()
    open_generation(paths, C, 2, IDS)
    root = stack.mount(1, 2)
    assert set(tree(root)) == {"first", "same"}
    (root / "second").write_text("2")
    (root / "first").write_text("changed")
    (root / "b").mkdir()
    stack.unmount()
    assert drop_generation(paths, C, 2, paths.trash / "t")
    assert tree(stack.mount(1)) == {"first": b"1", "same": b"top"}
    stack.unmount()
    assert restore_generation(paths, C, 2, paths.trash / "t")
    assert tree(stack.mount(1, 2)) == {"first": b"changed", "second": b"2", "same": b"top"}


def test_sealed_files_do_not_change_whatever_a_container_does(stack: Stack) -> None:
    stamps = [seal.stamp_of(descriptor) for descriptor in stack.descriptors]
    root = stack.mount(1)
    shutil.rmtree(root / "a")
    (root / "same").write_text("changed")
    (root / "same").chmod(0o777)
    stack.unmount()
    assert [seal.stamp_of(descriptor) for descriptor in stack.descriptors] == stamps


def test_unmounting_leaves_no_mount_and_no_folder_and_may_be_repeated(stack: Stack) -> None:
    stack.mount(1)
    assert rootfs.is_mounted(stack.paths, C) and mounts_below(stack.paths.run)
    stack.unmount()
    stack.unmount()
    assert not rootfs.is_mounted(stack.paths, C) and mounts_below(stack.paths.run) == []
    assert not stack.paths.container_run(C).exists()


def test_unmounting_keeps_what_others_put_beside_the_root(stack: Stack) -> None:
    stack.mount(1)
    (stack.paths.container_run(C) / "bundle").mkdir()
    (stack.paths.container_run(C) / "bundle" / "config.json").write_text("{}")
    stack.unmount()
    assert [path.name for path in stack.paths.container_run(C).iterdir()] == ["bundle"]


def test_a_root_in_use_still_goes_away_at_once(stack: Stack) -> None:
    root = stack.mount(1)
    with (root / "same").open() as file:
        stack.unmount()
        assert mounts_below(stack.paths.run) == [] and file.read() == "top"


@pytest.mark.parametrize("done", range(1, 5))
def test_a_half_made_mount_is_taken_down_whole(
    stack: Stack, done: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, calls = mountapi.attach, []

    def failing(mount: int, target: str) -> None:
        calls.append(target)
        if len(calls) == done:
            raise OSError(5, "the test says so")
        real(mount, target)

    monkeypatch.setattr(mountapi, "attach", failing)
    with pytest.raises(RuntimeFailed, match="the test says so"):
        stack.mount(1)
    assert mounts_below(stack.paths.run) == [] and not stack.paths.container_run(C).exists()
    monkeypatch.undo()
    stack.mount(1)


def test_a_crash_between_mounts_is_cleaned_by_a_later_unmount(
    stack: Stack, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rootfs, "unmount_rootfs", lambda paths, container: None)
    monkeypatch.setattr(rootfs, "_overlay", lambda *arguments: (_ for _ in ()).throw(OSError(5, "crash")))
    with pytest.raises(RuntimeFailed):
        stack.mount(1)
    monkeypatch.undo()
    assert len(mounts_below(stack.paths.run)) == 3
    stack.unmount()
    assert mounts_below(stack.paths.run) == [] and not stack.paths.container_run(C).exists()


def test_no_mount_of_a_container_reaches_another_mount_namespace(stack: Stack) -> None:
    """A namespace made before, whose mounts are slaves of the host's, as systemd makes them for services."""
    place = stack.paths.run
    place.mkdir(parents=True)
    subprocess.run(["mount", "--bind", place, place], check=True)
    subprocess.run(["mount", "--make-shared", place], check=True)
    other = subprocess.Popen(
        ["unshare", "--mount", "--propagation", "slave", "cat"], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    try:
        assert other.stdin and other.stdout
        other.stdin.write(b"x\n")
        other.stdin.flush()
        other.stdout.readline()
        stack.mount(1)
        seen = Path(f"/proc/{other.pid}/mountinfo").read_text()
        assert "overlay" not in [line.split(" - ")[1].split()[0] for line in seen.splitlines() if C in line]
        assert "erofs" not in [line.split(" - ")[1].split()[0] for line in seen.splitlines() if C in line]
        stack.unmount()
        assert C not in Path(f"/proc/{other.pid}/mountinfo").read_text()
    finally:
        with contextlib.suppress(Exception):
            stack.unmount()
        other.communicate(b"")
        subprocess.run(["umount", place], check=True)


def test_other_users_of_the_host_cannot_look_into_a_container(stack: Stack) -> None:
    root = stack.mount(1)
    command = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "cat", str(root / "same")]
    assert subprocess.run(command, capture_output=True, check=False).returncode != 0
    mode = stack.paths.container_run(C).stat()
    assert (mode.st_mode & 0o777, mode.st_uid, mode.st_gid) == (0o710, 0, IDS.first)


def test_the_root_of_the_image_gives_owner_and_mode_to_the_merged_root(tmp_path: Path) -> None:
    with instance(tmp_path) as paths:
        stack = Stack(paths, [tar_of(entry("./", type=FOLDER, mode=0o1555, uid=5), entry("f"))])
        open_generation(paths, C, 1, IDS)
        root = stack.mount(1)
        assert (root.stat().st_mode & 0o7777, root.stat().st_uid) == (0o1555, IDS.first + 5)
        root.chmod(0o700)
        stack.unmount()
        assert stack.mount(1).stat().st_mode & 0o7777 == 0o700
        stack.close()


def test_an_image_without_layers_gives_an_empty_writable_root(tmp_path: Path) -> None:
    with instance(tmp_path) as paths:
        stack = Stack(paths, [])
        open_generation(paths, C, 1, IDS)
        root = stack.mount(1)
        assert list(root.iterdir()) == [] and root.stat().st_uid == IDS.first
        (root / "f").write_text("x")


def test_a_hundred_and_twenty_layers_and_one_layer_twice_mount(tmp_path: Path) -> None:
    with instance(tmp_path) as paths:
        stack = Stack(paths, [TARS[0]])
        stack.layers *= 120
        stack.descriptors = [os.dup(stack.descriptors[0]) for _ in range(120)] + stack.descriptors[:0]
        open_generation(paths, C, 1, IDS)
        assert (stack.mount(1) / "a/one").read_bytes() == b"1"
        stack.unmount()
        assert mounts_below(paths.run) == []
        stack.close()


def test_a_root_is_one_mount_however_many_layers_it_has(stack: Stack) -> None:
    """Below the one that all have in common: whoever reads the mount table reads all of them."""
    root = stack.mount(1)
    assert len(stack.layers) > 1
    place = str(stack.paths.run / "c")
    assert sorted(mounts_below(stack.paths.run)) == sorted([place, str(root)])
    assert (root / "same").read_bytes() == b"top"
    open_generation(stack.paths, D, 1, IDS)
    other = stack.mount(1, container=D)
    assert sorted(mounts_below(stack.paths.run)) == sorted([place, str(root), str(other)])
    stack.unmount()
    assert sorted(mounts_below(stack.paths.run)) == sorted([place, str(other)])
    stack.unmount(D)
    assert mounts_below(stack.paths.run) == []


# -- namespaces without the other containers ------------------------------------------------------------


def said_in(namespace: MountNamespace, *words: object) -> str:
    return subprocess.run(
        ["nsenter", f"--mount={namespace.path}", "--", *map(str, words)], check=True, capture_output=True,
        text=True).stdout


@pytest.fixture
def two(stack: Stack) -> Iterator[Stack]:
    open_generation(stack.paths, D, 1, IDS)
    stack.mount(1)
    stack.mount(1, container=D)
    yield stack
    stack.unmount()
    stack.unmount(D)


def test_a_runtime_is_shown_the_host_and_one_container(two: Stack) -> None:
    with contextlib.closing(rootfs.without_others(two.paths, C)) as namespace:
        seen = said_in(namespace, "cat", "/proc/self/mountinfo")
        assert C in seen and D not in seen
        assert len(seen.splitlines()) > 3, "the host's own mounts are there"
        assert said_in(namespace, "cat", rootfs.merged_folder(two.paths, C) / "same") == "top"
        two.unmount()
        assert C not in said_in(namespace, "cat", "/proc/self/mountinfo"), "it went with its folder"


def test_a_runtime_that_needs_no_root_file_system_is_shown_none(two: Stack) -> None:
    with contextlib.closing(rootfs.without_others(two.paths)) as namespace:
        seen = said_in(namespace, "cat", "/proc/self/mountinfo")
        assert C not in seen and D not in seen


def test_what_is_mounted_apart_does_not_come_back(two: Stack) -> None:
    place = two.paths.run / "host"
    place.mkdir()
    subprocess.run(["mount", "--bind", place, place], check=True)
    try:
        subprocess.run(["mount", "--make-shared", place], check=True)  # as systemd has all of them
        (place / "inner").mkdir()
        before = mounts_below(two.paths.run)
        with contextlib.closing(rootfs.without_others(two.paths, C)) as namespace:
            said_in(namespace, "mount", "-t", "tmpfs", "inner", place / "inner")
            said_in(namespace, "umount", rootfs.merged_folder(two.paths, C))
            assert mounts_below(two.paths.run) == before
    finally:
        subprocess.run(["umount", place], check=True)


def test_who_makes_a_namespace_stays_where_he_is(two: Stack) -> None:
    here, folder = os.readlink("/proc/thread-self/ns/mnt"), Path.cwd()
    namespace = rootfs.without_others(two.paths, C)
    there = os.readlink(namespace.path)
    assert there != here == os.readlink("/proc/thread-self/ns/mnt") and Path.cwd() == folder
    namespace.close()
    namespace.close()
    with pytest.raises(RuntimeFailed, match="mount namespace"):
        rootfs.without_others(two.paths, "e" * 64)


def test_a_root_folder_with_a_very_long_path_mounts(tmp_path: Path) -> None:
    deep = tmp_path / ("d" * 120) / ("e" * 120)
    deep.mkdir(parents=True)
    with instance(deep) as paths:
        stack = Stack(paths)
        open_generation(paths, C, 1, IDS)
        assert (stack.mount(1) / "same").read_bytes() == b"top"
        stack.close()


def test_a_read_only_mount_refuses_writes(stack: Stack) -> None:
    with pytest.raises(OSError, match="Read-only"):
        (stack.mount(1, read_only=True) / "new").write_text("x")


def test_devices_do_not_open_in_a_container(stack: Stack) -> None:
    root = stack.mount(1)
    os.mknod(root / "null", 0o20666, os.makedev(1, 3))
    with pytest.raises(PermissionError):
        (root / "null").open("rb")


@pytest.mark.parametrize("case", ["another file", "fewer", "swapped", "no verdict for it"])
def test_only_the_layers_of_the_verdict_are_mounted(stack: Stack, case: str) -> None:
    layers = list(stack.layers)
    match case:
        case "another file":
            with (stack.paths.root / "f").open("w+b") as file:
                os.dup2(file.fileno(), stack.descriptors[1])
        case "fewer":
            os.close(stack.descriptors.pop())
        case "swapped":
            stack.descriptors.reverse()
        case "no verdict for it":
            layers[1] = layers[0]
    with pytest.raises(SealBroken):
        rootfs.mount_rootfs(stack.paths, C, stack.descriptors, [1], IDS, verdict_over(layers))
    assert mounts_below(stack.paths.run) == []


def test_a_swap_of_the_file_after_it_was_opened_does_not_reach_the_mount(stack: Stack) -> None:
    """By descriptor: even when the path is swapped between the last check and the mount."""
    target = stack.paths.root / "aside"
    target.mkdir()
    path = stack.paths.layer(stack.layers[0].diff_id)
    with mountapi.closing(os.open(path, os.O_RDONLY)) as descriptor:
        mountapi.set_immutable(descriptor, False)
    path.rename(target / "was")
    path.write_bytes(b"evil" * 1024)
    with mountapi.closing(rootfs._erofs(stack.descriptors[0])) as mount:
        mountapi.attach(mount, str(target))
    assert (target / "same").read_bytes() == b"bottom"
    assert mountapi.detach(str(target))


def test_mounting_twice_or_without_a_generation_is_refused(stack: Stack) -> None:
    with pytest.raises(StateError, match="generation 2"):
        stack.mount(1, 2)
    with pytest.raises(StateError, match="no generation"):
        stack.mount()
    root = stack.mount(1)
    with pytest.raises(StateError, match="mounted already"):
        stack.mount(1)
    assert (root / "same").exists()


def test_a_kernel_without_file_backed_erofs_mounts_over_a_loop_device(
    stack: Stack, monkeypatch: pytest.MonkeyPatch
) -> None:
    direct = rootfs._erofs_from

    def old_kernel(source: str) -> int:
        if source.startswith("/proc"):
            raise OSError(15, "Block device required")
        return direct(source)

    monkeypatch.setattr(rootfs, "_erofs_from", old_kernel)
    root = stack.mount(1)
    assert len(loops_over(stack.paths.layers)) == 2
    assert tree(root) == {"a/one": b"1", "b/y": b"y", "same": b"top"}
    stack.unmount()
    assert loops_over(stack.paths.layers) == []


def loops_over(folder: Path) -> list[str]:
    """The files below ``folder`` that loop devices stand on."""
    backing = [path.read_text().strip() for path in Path("/sys/block").glob("loop*/loop/backing_file")]
    return [file for file in backing if file.startswith(str(folder))]


def test_a_loop_device_without_a_mount_is_freed(stack: Stack) -> None:
    with loop.attached(stack.descriptors[0]) as device:
        assert os.path.exists(f"/sys/block/{Path(device).name}/loop/backing_file")
    assert not os.path.exists(f"/sys/block/{Path(device).name}/loop/backing_file")


def test_a_kernel_without_single_lowers_mounts_by_one_string(
    stack: Stack, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = mountapi.fsconfig

    def old_kernel(context: int, key: str, value: str | None = None) -> None:
        if key == "lowerdir+":
            raise OSError(22, "Invalid argument")
        real(context, key, value)

    monkeypatch.setattr(mountapi, "fsconfig", old_kernel)
    root = stack.mount(1)
    assert tree(root) == {"a/one": b"1", "b/y": b"y", "same": b"top"}
    (root / "new").write_text("x")
    assert (upper_folder(stack.paths, C, 1) / "new").exists()
    stack.unmount()
    assert mounts_below(stack.paths.run) == []


def test_the_kernels_own_words_are_in_the_error() -> None:
    with (
        mountapi.closing(mountapi.fsopen("overlay")) as context,
        pytest.raises(OSError, match="overlay: Unknown parameter 'no_such_option'"),
    ):
        mountapi.fsconfig(context, "no_such_option", "1")


def test_a_mount_that_the_kernel_refuses_is_reported_and_leaves_nothing(stack: Stack) -> None:
    work = work_folder(stack.paths, C, 1)
    subprocess.run(["mount", "-t", "tmpfs", "elsewhere", work], check=True)
    try:
        with pytest.raises(RuntimeFailed, match="cannot mount .* of cccccccccccc: fs"):
            stack.mount(1)
    finally:
        subprocess.run(["umount", work], check=True)
    assert mounts_below(stack.paths.run) == []


def test_containers_mount_and_unmount_from_many_threads(stack: Stack) -> None:
    names = [f"t{number}" for number in range(12)]
    for number, name in enumerate(names):
        open_generation(stack.paths, name, 1, IdRange(5_000_000 + number * 65536))
    wrong: list[BaseException | str] = []

    def cycle(number: int, name: str) -> None:
        try:
            for _ in range(3):
                root = stack.mount(1, container=name, ids=IdRange(5_000_000 + number * 65536))
                if (root / "same").read_bytes() != b"top":
                    wrong.append(name)
                stack.unmount(name)
        except BaseException as error:  # noqa: BLE001  a thread's failure must reach the test
            wrong.append(error)

    threads = [threading.Thread(target=cycle, args=pair) for pair in enumerate(names)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == [] and mounts_below(stack.paths.run) == []


def test_namespaces_are_kept_for_their_range_and_bounded() -> None:
    kept = userns.UserNamespaces(kept=2)
    first, again, *others = (
        kept.open(IdRange(start)) for start in (70_000, 70_000, 200_000, 300_000, 70_000)
    )
    inodes = [os.fstat(descriptor).st_ino for descriptor in (first, again, *others)]
    assert inodes[0] == inodes[1] and inodes[0] != inodes[4] and len(set(inodes)) == 4
    for descriptor in (first, again, *others):
        os.close(descriptor)
    kept.close()


@pytest.mark.parametrize("ids", [IdRange(0), IdRange(-1), IdRange(5, 0), IdRange(2**32 - 10, 100)])
def test_no_range_may_hold_the_hosts_root(ids: IdRange) -> None:
    with pytest.raises(ValueError, match="unprivileged"):
        userns.make_user_namespace(ids)
