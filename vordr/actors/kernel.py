"""The real world: runtime, mounts, folders. The only module that calls the runtime to change anything."""

from __future__ import annotations

import os
import shutil
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from vordr.actors.world import Exit, Launched, Observed, Status
from vordr.formats.typed import convert
from vordr.images import generations, rootfs
from vordr.images.layout import MAX_DOCUMENT, parse_image
from vordr.images.seal import open_sealed
from vordr.images.space import full_disk_is_space_exhausted
from vordr.images.store import ImageStore
from vordr.journal.secrets import SecretStore
from vordr.model.errors import (
    ImageNotFound,
    RuntimeFailed,
    SealBroken,
    StateError,
    VerificationRejected,
    VordrError,
)
from vordr.model.paths import Paths
from vordr.model.records import image_key
from vordr.model.spec import IdRange
from vordr.model.state import ContainerState, ImageState, Seal
from vordr.model.verdict import Verdict
from vordr.runtime import cgroups, cleanup, conmon, etcfiles, ociconfig, seccomp, users
from vordr.runtime.driver import Driver, RuntimeStatus
from vordr.runtime.exits import ExitWatcher, read_exit
from vordr.runtime.probe import HostFacts

_STATUS = {
    RuntimeStatus.RUNNING: Status.RUNNING,
    RuntimeStatus.PAUSED: Status.PAUSED,
    RuntimeStatus.STOPPED: Status.ENDED,
}


# Beside more containers than these a runtime is started where it sees none of the others.
_FEW = 8
# Exec sessions that ended and that nobody has waited for yet.
_MOST_UNASKED = 64


class KernelWorld:
    """See :class:`vordr.actors.world.World`. ``on_broken`` hears of a layer that is not what was sealed;
    ``log_limit`` bounds each container's log, in bytes."""

    def __init__(
        self, paths: Paths, journal: Any, secrets: SecretStore, facts: HostFacts,
        driver: Callable[[], Driver], watcher: ExitWatcher,
        on_broken: Callable[[str, Seal, SealBroken], None], log_limit: int,
    ) -> None:
        self.paths = paths
        self.store = ImageStore(paths)
        self.journal = journal
        self.secrets = secrets
        self.facts = facts
        self._driver = driver
        self.watcher = watcher
        self.on_broken = on_broken
        self.log_limit = log_limit
        self._sessions: dict[tuple[str, str], conmon.ExecHandle] = {}
        self._sessions_lock = threading.Lock()

    def close(self) -> None:
        """Let go of what all containers share, if none is left; those that run, run on."""
        rootfs.leave(self.paths)

    @property
    def driver(self) -> Driver:
        """The OCI runtime of this host; raises RuntimeNotFound where there is none."""
        return self._driver()

    # -- folders -----------------------------------------------------------------------------------

    def create(self, container: ContainerState) -> None:
        self._ids(container)
        with full_disk_is_space_exhausted("a container"):
            folder = self.paths.container(container.id)
            for part in (folder, folder / "gen", folder / "log"):
                part.mkdir(mode=0o711, parents=True, exist_ok=True)
            _sync(folder.parent)

    def discard(self, container: ContainerState) -> None:
        self._end_sessions(container.id)
        self._move(self.paths.container(container.id), self.paths.trashed(container.id))

    def recover(self, container: ContainerState) -> None:
        self._move(self.paths.trashed(container.id), self.paths.container(container.id))

    def _move(self, source: Path, target: Path) -> None:
        """Rename durably; done already is fine, so that recovery may repeat it."""
        if target.exists() and not source.exists():
            return
        target.parent.mkdir(mode=0o711, parents=True, exist_ok=True)
        try:
            os.rename(source, target)
        except OSError as error:
            message = f"cannot move {source.name[:12]} to {target.parent}: {error.strerror}"
            raise StateError(message) from error
        _sync(source.parent)
        _sync(target.parent)

    def open_generation(self, container: ContainerState, number: int) -> None:
        # Numbers are given out once: what was dropped under this one is of a start that came to nothing, and
        # would be in the way when this one is dropped.
        generations.discard(self._dropped(container) / str(number))
        generations.open_generation(self.paths, container.id, number, self._ids(container))

    def _keep(self, container: ContainerState, number: int) -> None:
        generations.make_durable(self.paths, container.id, number)

    def drop_generation(self, container: ContainerState, number: int) -> None:
        generations.drop_generation(self.paths, container.id, number, self._dropped(container))

    def restore_generation(self, container: ContainerState, number: int) -> None:
        if not generations.restore_generation(self.paths, container.id, number, self._dropped(container)):
            raise StateError(f"generation {number} of {container.name} has left the trash")

    def _dropped(self, container: ContainerState) -> Path:
        """Dropped generations stay in the container's own folder, and go to the trash and back with it."""
        return self.paths.container(container.id) / "dropped"

    @staticmethod
    def _ids(container: ContainerState) -> IdRange:
        if container.ids is None or container.ids.first == 0:
            raise StateError(f"{container.name} has no range of user ids")
        return container.ids

    # -- the process -------------------------------------------------------------------------------

    def launch(
        self, container: ContainerState, generations: tuple[int, ...], verdict: Verdict, *, attach: bool
    ) -> Launched:
        image = self._bound(self._image(container, verdict), verdict)
        driver = self.driver
        descriptors = self._open_layers(image)
        try:
            waiting = conmon.prepare(
                self.paths, container.id, conmon.make_bundle(self.paths, container.id), driver,
                tty=container.spec.tty, stdin=container.spec.stdin, log=self.paths.log(container.id),
                leave_stdin_open=container.spec.tty, log_limit=self.log_limit)
            with ExitStack() as unless_it_runs:
                unless_it_runs.callback(waiting.abandon)
                # conmon comes up meanwhile.
                merged = rootfs.mount_rootfs(
                    self.paths, container.id, descriptors, generations, self._ids(container), verdict)
                conmon.write_bundle(self.paths, container.id, self._config(container, image, merged))
                self.watcher.adopt(container.id, waiting.ready())
                connection = waiting.attach() if attach else None
                if connection is not None:
                    unless_it_runs.callback(connection.close)
                # It need not last before the outcome is journalled, and the runtime takes its time.
                with self._apart(container.id) as namespace:
                    held = conmon.run(
                        waiting, verdict, lambda: self._keep(container, generations[-1]), namespace)
                unless_it_runs.pop_all()
        finally:
            for descriptor in descriptors:
                os.close(descriptor)
        return Launched(held.container_pid, None if connection is None else connection.detach())

    @contextmanager
    def _apart(self, *containers: str) -> Iterator[str | None]:
        """Path of the mount namespace in which a runtime is started; None where few containers run.

        The mounts of others would only keep it busy, but to enter a namespace takes its time, too.
        """
        if len(os.listdir(self.paths.run / "c")) <= _FEW:
            yield None
            return
        namespace = rootfs.without_others(self.paths, *containers)
        try:
            yield namespace.path
        finally:
            namespace.close()

    def watch(self, container: ContainerState) -> None:
        """Hear of the end of a living process that an earlier incarnation of the engine started."""
        keeper = conmon.conmon_pid(self.paths, container.id)
        if keeper is None:  # then the end of the process itself is what there is to wait for
            state = self.driver.state(container.id)
            keeper = None if state is None else state.pid
        if keeper:
            self.watcher.adopt(container.id, keeper)
        self.watcher.rescan()

    def _image(self, container: ContainerState, verdict: Verdict) -> ImageState:
        if verdict.manifest != container.image:
            raise VerificationRejected(
                "SUBJECT_MISMATCH", f"the verdict is about another image than {container.name} runs", step=4)
        value = self.journal.get(image_key(container.image))
        if value is None:
            raise ImageNotFound(
                f"the image {container.image_name} of {container.name} is not in the store any more",
                remedy="vordr undo of its removal, or run the .ctp again")
        return convert(value, ImageState)

    def _bound(self, image: ImageState, verdict: Verdict) -> ImageState:
        """``image``, once its layers and what it runs are those of the very bytes that the verdict names.

        Entrypoint, environment and user come from the journal's database, which no hash covers by itself.
        Raises VerificationRejected, and ImageUnreadable where manifest or config are not in the store.
        """
        meant = parse_image(lambda digest: self.store.read(digest, MAX_DOCUMENT), verdict.manifest)
        layers = tuple((layer.blob, layer.diff_id) for layer in meant.layers)
        same = (meant.config_digest, layers) == (verdict.config, verdict.layers)
        sealed = [seal.diff_id for seal in image.seals] == [diff_id for _, diff_id in layers]
        if not same or not sealed or (image.config, image.layers) != (meant.config, meant.layers):
            raise VerificationRejected(
                "SUBJECT_MISMATCH", "what the journal says of the image is not what was verified", step=4,
                remedy="vordr audit --chain")
        return image

    def require_bytes(self, container: ContainerState, verdict: Verdict) -> None:
        for seal in self._bound(self._image(container, verdict), verdict).seals:
            os.close(open_sealed(self.paths, seal))

    def _open_layers(self, image: ImageState) -> list[int]:
        opened: list[int] = []
        try:
            for seal in image.seals:
                try:
                    opened.append(open_sealed(self.paths, seal))
                except SealBroken as broken:
                    self.on_broken(image.manifest, seal, broken)
                    raise
        except VordrError:
            for descriptor in opened:
                os.close(descriptor)
            raise
        return opened

    def _config(self, container: ContainerState, image: ImageState, merged: Path) -> dict[str, Any]:
        ids = self._ids(container)
        spec = container.spec
        user = users.resolve(merged, spec.user if spec.user is not None else image.config.user, ids)
        etc = etcfiles.write_etc_files(self.paths, container.id, spec, ids)
        return ociconfig.build(
            spec, image.config, id=container.id, rootfs=merged, ids=ids, user=user, etc=etc,
            environment=self._environment(container), cgroup=cgroups.container_group(container.id),
            seccomp=seccomp.profile(os.uname().machine), facts=self.facts,
            annotations={"dev.vordr.name": container.name, "dev.vordr.manifest": container.image})

    def _environment(self, container: ContainerState) -> dict[str, str]:
        wanted = container.spec.environment
        return self.secrets.get(container.id, wanted) if wanted else {}

    def signal(self, container: ContainerState, number: int) -> None:
        self.driver.kill(container.id, number)

    def pause(self, container: ContainerState) -> None:
        self.driver.pause(container.id)

    def resume(self, container: ContainerState) -> None:
        self.driver.resume(container.id)

    def clear(self, container: ContainerState) -> None:
        cleanup.reap(
            self.paths, container.id, self._runtime_of(container),
            lambda: rootfs.unmount_rootfs(self.paths, container.id))
        rootfs.leave(self.paths)

    def _runtime_of(self, container: ContainerState) -> Driver | None:
        """The runtime, if there is state of the container: what was never started needs none installed."""
        return self.driver if (self.paths.runtime_state / container.id).is_dir() else None

    def forget_exit(self, container: ContainerState) -> None:
        self.watcher.take(container.id)

    def observe(self, container: ContainerState) -> Observed:
        runtime = self._runtime_of(container)
        state = None if runtime is None else runtime.state(container.id)
        exit = self._exit(container)
        status = Status.ABSENT if state is None else _STATUS.get(state.status, Status.ABSENT)
        if exit is not None and status not in (Status.RUNNING, Status.PAUSED):
            status = Status.ENDED
        folder = self.paths.container(container.id)
        return Observed(
            status, None if state is None else state.pid, exit, folder.is_dir(),
            self.paths.trashed(container.id).is_dir(), _numbers(folder / "gen"))

    def _exit(self, container: ContainerState) -> Exit | None:
        try:
            notice, _ = read_exit(self.paths.exits, container.id)
        except FileNotFoundError:
            return None
        return Exit(notice.code, notice.time_us)

    # -- exec --------------------------------------------------------------------------------------

    def execute(
        self, container: ContainerState, session: str, request: Any, *, attach: bool
    ) -> int | None:
        value = self.journal.get(image_key(container.image))
        config = convert(value, ImageState).config if value is not None else None
        if config is None:
            raise ImageNotFound(f"the image of {container.name} is not in the store any more")
        ids = self._ids(container)
        merged = rootfs.merged_folder(self.paths, container.id)
        wanted = request.user or container.spec.user
        user = users.resolve(merged, wanted if wanted is not None else config.user, ids)
        process = ociconfig.process_for_exec(
            request.command, config, spec=container.spec, id=container.id, user=user, tty=request.tty,
            environment={**self._environment(container), **request.environment}, facts=self.facts,
            workdir=request.workdir)
        self._forget_unasked()
        with self._apart() as namespace:
            handle = conmon.exec_(
                self.paths, container.id, session, process, self.driver, tty=request.tty,
                stdin=request.stdin, attach=attach, namespace=namespace)
        if handle.attach is None:
            handle.close()  # detached: nobody will ask for its end
            return None
        connection = handle.attach.detach()
        handle.attach = None
        with self._sessions_lock:
            self._sessions[container.id, session] = handle
        return connection

    def session(self, container: str, session: str) -> conmon.ExecHandle | None:
        """The exec session, while nobody has waited for its end."""
        with self._sessions_lock:
            return self._sessions.get((container, session))

    def end_session(self, container: str, session: str) -> None:
        """Forget an exec session whose end is known."""
        with self._sessions_lock:
            handle = self._sessions.pop((container, session), None)
        if handle is not None:
            handle.close()
            shutil.rmtree(conmon.exec_folder(self.paths, container, session), ignore_errors=True)

    def _forget_unasked(self) -> None:
        """Let go of the oldest sessions that ended and whose end nobody asks for: each holds a descriptor."""
        with self._sessions_lock:
            ended = [key for key, handle in self._sessions.items() if handle.ended]
        for container, session in ended[:-_MOST_UNASKED]:
            self.end_session(container, session)

    def _end_sessions(self, container: str) -> None:
        with self._sessions_lock:
            mine = [key for key in self._sessions if key[0] == container]
        for _, session in mine:
            self.end_session(container, session)


def _numbers(folder: Path) -> tuple[int, ...]:
    try:
        return tuple(sorted(int(entry.name) for entry in folder.iterdir() if entry.name.isdigit()))
    except FileNotFoundError:
        return ()
    except OSError as error:
        raise RuntimeFailed(f"cannot read {folder}: {error.strerror}") from error


def _sync(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
