"""A container's root file system: sealed layers below, earlier generations above them, a fresh upper on top.

Everything is mounted below ``run/c/<id>``, and ``run/c`` is bound onto itself with private propagation. So no
mount of a container shows in any other mount namespace that shares the host's, and all of them together can
be left out of one by taking off that bind (:func:`without_others`).

Each layer is mounted by the descriptor that was checked against its seal, never by its path. Whose id 0 in
the layer is the container's root is said by an idmapped mount, so one sealed file serves every container's
range.
"""

from __future__ import annotations

import errno
import os
import threading
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Final

from vordr.images import loop, mountapi
from vordr.images.generations import upper_folder, work_folder
from vordr.images.mount_namespace import MountNamespace
from vordr.images.space import full_disk_is_space_exhausted
from vordr.images.userns import UserNamespaces
from vordr.model.errors import RuntimeFailed, SealBroken, StateError
from vordr.model.paths import Paths
from vordr.model.spec import IdRange
from vordr.model.verdict import Verdict

_LAYER_ATTRIBUTES: Final = mountapi.MOUNT_ATTR_RDONLY | mountapi.MOUNT_ATTR_NODEV
# No index and no metacopy: an upper then holds whole files, so it is valid on any stack of the same
# content, and nothing in it refers to data below by a name that an image chose.
_OVERLAY_OPTIONS: Final = (("index", "off"), ("metacopy", "off"), ("redirect_dir", "nofollow"))
_LOWERS: Final = "lowers"
_namespaces: Final = UserNamespaces()
_placing: Final = threading.Lock()


def merged_folder(paths: Paths, container: str) -> Path:
    """Where the container's root file system is mounted."""
    return paths.container_run(container) / "rootfs"


def mount_rootfs(
    paths: Paths,
    container: str,
    layer_fds: Sequence[int],
    generations: Sequence[int],
    ids: IdRange,
    verdict: Verdict,
    read_only: bool = False,
) -> Path:
    """Mount the root file system and return its folder.

    ``layer_fds`` are the checked descriptors of the sealed layers, bottom first, one for each layer of the
    verdict; the caller keeps and closes them. ``generations`` are numbers, oldest first; the last is the
    upper and is written to. With ``read_only`` the mount is read-only as a whole.

    Raises SealBroken when a descriptor is not the layer that the verdict names, StateError when it is
    mounted already or a generation is missing, RuntimeFailed with the kernel's words. On an error nothing
    stays mounted.
    """
    _check_bound(paths, layer_fds, verdict)
    if not generations:
        raise StateError(f"{container[:12]} has no generation to write to")
    if is_mounted(paths, container):
        raise StateError(f"the root file system of {container[:12]} is mounted already")
    missing = [n for n in generations if not upper_folder(paths, container, n).is_dir()]
    if missing:
        raise StateError(f"generation {missing[0]} of {container[:12]} is missing")
    try:
        with full_disk_is_space_exhausted("a root file system"):
            _prepare(paths, container, ids)
            return _mount(paths, container, layer_fds, generations, ids, read_only)
    except OSError as error:
        unmount_rootfs(paths, container)
        words = f"cannot mount the root file system of {container[:12]}: {error.strerror}"
        raise RuntimeFailed(words) from error
    except BaseException:
        unmount_rootfs(paths, container)
        raise


def unmount_rootfs(paths: Paths, container: str) -> None:
    """Take down all mounts of the container and the folders made for them; idempotent, half-made ones too.

    ``run/c/<id>`` itself goes only when nothing else (a bundle) is in it.
    """
    home = paths.container_run(container)
    lowers, merged = home / _LOWERS, merged_folder(paths, container)
    _detach(merged)
    with suppress(FileNotFoundError):
        for lower in lowers.iterdir():
            _detach(lower)
            lower.rmdir()
    for folder in (lowers, merged, home):
        try:
            folder.rmdir()
        except OSError as error:
            if error.errno not in (errno.ENOENT, errno.ENOTEMPTY):
                raise
    leave(paths)


def _detach(folder: Path) -> None:
    while mountapi.detach(str(folder)):
        pass


def without_others(paths: Paths, *containers: str) -> MountNamespace:
    """A mount namespace with what the host mounts, and of the containers with the root file systems of these.

    Raises RuntimeFailed with the kernel's words.
    """
    try:
        return MountNamespace.of_the_host_without(
            paths.run / "c", but=[merged_folder(paths, container) for container in containers])
    except OSError as error:
        raise RuntimeFailed(f"cannot make a mount namespace: {error.strerror}") from error


def leave(paths: Paths) -> None:
    """Take down what all root file systems have in common, if no container has anything there."""
    place = paths.run / "c"
    with _placing, suppress(FileNotFoundError):
        if next(place.iterdir(), None) is None:
            mountapi.unmount(str(place))


def is_mounted(paths: Paths, container: str) -> bool:
    """Whether the container's merged root file system is mounted now."""
    return os.path.ismount(merged_folder(paths, container))


def mounted_containers(paths: Paths) -> Iterator[str]:
    """Ids of the containers whose root file system is mounted, for a recovery to compare with the journal."""
    with suppress(FileNotFoundError):
        for home in sorted((paths.run / "c").iterdir()):
            if is_mounted(paths, home.name):
                yield home.name


def _check_bound(paths: Paths, layer_fds: Sequence[int], verdict: Verdict) -> None:
    """The verdict covers these very files: same number, and each is the sealed file of its diffID."""
    if len(layer_fds) != len(verdict.layers):
        raise SealBroken(f"{len(layer_fds)} layers opened, but the verdict covers {len(verdict.layers)}")
    for descriptor, (_, diff_id) in zip(layer_fds, verdict.layers, strict=True):
        path = paths.layer(diff_id)
        opened = os.fstat(descriptor)
        try:
            named = path.lstat()
        except FileNotFoundError:
            named = None
        if named is None or (named.st_dev, named.st_ino) != (opened.st_dev, opened.st_ino):
            raise SealBroken(
                f"the opened layer is not the sealed layer {diff_id}",
                details={"diff_id": diff_id, "path": str(path)},
            )


def _mount(
    paths: Paths, container: str, layer_fds: Sequence[int], generations: Sequence[int], ids: IdRange,
    read_only: bool,
) -> Path:
    merged = merged_folder(paths, container)
    lowers = paths.container_run(container) / _LOWERS
    with ExitStack() as stack:
        namespace = stack.enter_context(mountapi.closing(_namespaces.open(ids)))
        stacked = []
        for number, descriptor in enumerate(layer_fds):
            target = lowers / str(number)
            target.mkdir(mode=0o700)
            _mount_layer(descriptor, namespace, target)
            stacked.append(target)
        stacked += [upper_folder(paths, container, number) for number in generations[:-1]]
        if not stacked:
            stacked.append(_empty_lower(lowers, ids))
        upper, work = (part(paths, container, generations[-1]) for part in (upper_folder, work_folder))
        _inherit_root(stacked[-1], upper, work)
        _overlay(stacked, upper, work, merged, read_only)
    # The overlay has mounts of its own of them. Those at their places would only lengthen the mount table,
    # which the runtime reads again and again: each start of a container is slower by what stands there.
    for number in range(len(layer_fds)):
        mountapi.detach(str(lowers / str(number)))
    return merged


def _prepare(paths: Paths, container: str, ids: IdRange) -> None:
    """Make the folders to mount at."""
    home = paths.container_run(container)
    with _placing:
        _private_place(paths)
        home.mkdir(mode=0o710, exist_ok=True)  # from here on nobody leaves
    # Only root and the container's own root may pass: other users of the host see nothing of its files.
    os.chown(home, 0, ids.first)
    home.chmod(0o710)
    (home / _LOWERS).mkdir(mode=0o700, exist_ok=True)
    merged_folder(paths, container).mkdir(mode=0o711, exist_ok=True)


def _private_place(paths: Paths) -> None:
    """Make ``run/c`` a private mount of its own, if it is none yet; what is mounted below is private, too."""
    place = paths.run / "c"
    for folder in (paths.run.parent, paths.run, place):
        with suppress(FileExistsError):
            folder.mkdir(mode=0o711, parents=True)
    if mountapi.is_mount_point(str(place)):
        return
    with mountapi.closing(mountapi.clone_tree(str(place))) as bind:
        mountapi.attach(bind, str(place))
        # Only now: attaching to a shared mount makes the attached one shared.
        mountapi.set_private(bind)


def _mount_layer(descriptor: int, namespace: int, target: Path) -> None:
    """Mount the sealed EROFS image behind ``descriptor``, its ids mapped by ``namespace``."""
    with mountapi.closing(_erofs(descriptor)) as mount:
        mountapi.set_idmap(mount, namespace)
        mountapi.attach(mount, str(target))


def _erofs(descriptor: int) -> int:
    """A detached mount of the image: straight from the file (Linux ≥ 6.12), else over a loop device."""
    try:
        return _erofs_from(f"/proc/self/fd/{descriptor}")
    except OSError as error:
        if error.errno != errno.ENOTBLK:
            raise
    with loop.attached(descriptor) as device:
        return _erofs_from(device)


def _erofs_from(source: str) -> int:
    with mountapi.closing(mountapi.fsopen("erofs")) as context:
        mountapi.fsconfig(context, "source", source)
        mountapi.fsconfig(context, "ro")
        return mountapi.create(context, _LAYER_ATTRIBUTES)


def _empty_lower(lowers: Path, ids: IdRange) -> Path:
    """overlayfs wants at least one lower; an image without layers gets an empty one."""
    empty = lowers / "empty"
    empty.mkdir(mode=0o755)
    os.chown(empty, ids.first, ids.first)
    return empty


def _inherit_root(below: Path, upper: Path, work: Path) -> None:
    """On the first mount the upper's root takes owner and mode of the root it covers.

    The merged root shows the upper's attributes; an image whose root is 0555 or sticky must keep that.
    """
    if next(work.iterdir(), None) is None:
        root = below.stat()
        os.chown(upper, root.st_uid, root.st_gid)
        upper.chmod(root.st_mode & 0o7777)


def _overlay(stacked: Sequence[Path], upper: Path, work: Path, merged: Path, read_only: bool) -> None:
    """Mount the overlay at ``merged``; ``stacked`` are the lowers, bottom first."""
    try:
        _overlay_by_context(stacked, upper, work, merged, read_only)
    except OSError as error:
        # Linux < 6.5 does not know lowerdir+.
        if error.errno != errno.EINVAL:
            raise
        try:
            overlay_by_string(stacked, upper, work, merged, read_only)
        except OSError:
            # Both refused, so the kernel was not too old; the first has its words.
            raise error from None


def _overlay_by_context(
    stacked: Sequence[Path], upper: Path, work: Path, merged: Path, read_only: bool
) -> None:
    attributes = mountapi.MOUNT_ATTR_NODEV | (mountapi.MOUNT_ATTR_RDONLY if read_only else 0)
    with ExitStack() as stack:
        context = stack.enter_context(mountapi.closing(mountapi.fsopen("overlay")))
        for key, value in (("source", "vordr"), *_OVERLAY_OPTIONS):
            mountapi.fsconfig(context, key, value)
        for key, folder in (("upperdir", upper), ("workdir", work)):
            mountapi.fsconfig(context, key, _short(folder, stack))
        for lower in reversed(stacked):
            mountapi.fsconfig(context, "lowerdir+", _short(lower, stack))
        mount = stack.enter_context(mountapi.closing(mountapi.create(context, attributes)))
        mountapi.attach(mount, str(merged))


def overlay_by_string(
    stacked: Sequence[Path], upper: Path, work: Path, merged: Path, read_only: bool
) -> None:
    """As _overlay, by mount(2)'s one string of at most 4 KiB: descriptors keep it short (200 lowers fit)."""
    with ExitStack() as stack:
        lowers = ":".join(_descriptor_path(lower, stack) for lower in reversed(stacked))
        parts = {
            "lowerdir": lowers, "upperdir": _descriptor_path(upper, stack),
            "workdir": _descriptor_path(work, stack), **dict(_OVERLAY_OPTIONS),
        }
        data = ",".join(f"{key}={value}" for key, value in parts.items())
        if len(data) > 4095:
            raise OSError(errno.E2BIG, f"{len(stacked)} layers are too many for this kernel")
        flags = mountapi.MS_NODEV | (mountapi.MS_RDONLY if read_only else 0)
        mountapi.mount("vordr", str(merged), "overlay", flags, data)


def _short(folder: Path, stack: ExitStack) -> str:
    """A path that fits fsconfig's 255 bytes: the folder's own, or one by descriptor."""
    path = str(folder)
    return path if len(os.fsencode(path)) <= 255 else _descriptor_path(folder, stack)


def _descriptor_path(folder: Path, stack: ExitStack) -> str:
    descriptor = os.open(folder, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    stack.callback(os.close, descriptor)
    return f"/proc/self/fd/{descriptor}"


@contextmanager
def mounted_rootfs(
    paths: Paths, container: str, layer_fds: Sequence[int], generations: Sequence[int], ids: IdRange,
    verdict: Verdict,
) -> Iterator[Path]:
    """The root file system for the length of a block, as copying in and out of a stopped container needs
    it.
    """
    merged = mount_rootfs(paths, container, layer_fds, generations, ids, verdict)
    try:
        yield merged
    finally:
        unmount_rootfs(paths, container)
