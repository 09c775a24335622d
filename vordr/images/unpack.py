"""Unpacking a layer's blob into a folder, in a child of its own that holds next to no rights.

The child (:mod:`vordr.images.unpack_child`) decides and writes; here it is started, watched, and its report
judged. Its one effect left to do here is the mark of opaque folders, an attribute that only the host's root
may set.
"""

from __future__ import annotations

import fcntl
import os
import select
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Final

import msgspec

from vordr.formats.typed import decoder
from vordr.images.layout import LAYER_TYPES
from vordr.images.limits import DEFAULT_LIMITS, Limits
from vordr.images.space import full_disk_is_space_exhausted
from vordr.images.unpack_wire import Failure, Report, Request, Success
from vordr.model.errors import ImageUnreadable, LayerSpaceExhausted, NotPrivileged, RuntimeFailed
from vordr.model.progress import Progress, silent

__all__ = ["DEFAULT_LIMITS", "Limits", "Unpacked", "unpack"]

_LONGEST_REPORT: Final = 64 << 20
_TICK: Final = 0.25
_REPORTS: Final[msgspec.json.Decoder[Report]] = decoder(Success | Failure)


class Unpacked(msgspec.Struct, frozen=True):
    """What a layer came to: entries made and bytes of its tar."""

    entries: int
    bytes: int


def unpack(
    blob: int,
    media_type: str,
    diff_id: str,
    target: Path,
    limits: Limits = DEFAULT_LIMITS,
    progress: Progress = silent,
) -> Unpacked:
    """Unpack the open ``blob`` into the empty folder ``target``; its tar must hash to ``diff_id``.

    Whiteouts become overlayfs' own (character device 0:0, trusted.overlay.opaque). Raises ImageUnreadable
    with the member that was refused, LayerSpaceExhausted, NotPrivileged without root. What was written
    before an error stays in ``target``, for the caller to delete.
    """
    compression = LAYER_TYPES.get(media_type)
    if compression is None:
        raise ImageUnreadable(f"layer {diff_id}: media type {media_type!r} is not supported")
    if os.geteuid() != 0:
        raise NotPrivileged("unpacking layers needs root, to give files their owners")
    request = Request(compression, os.fstat(blob).st_size, limits)
    report = _run_child(blob, request, target, diff_id, progress)
    if isinstance(report, Failure):
        raise _as_error(report, diff_id)
    if report.diff_id != diff_id:
        raise ImageUnreadable(
            f"layer {diff_id} holds other bytes than its diffID says",
            details={"diff_id": diff_id, "found": report.diff_id},
        )
    with full_disk_is_space_exhausted(f"layer {diff_id}"):
        for path in report.opaque:
            _mark_opaque(target, bytes.fromhex(path))
    return Unpacked(report.entries, report.bytes)


def _run_child(
    blob: int, request: Request, target: Path, diff_id: str, progress: Progress
) -> Report:
    os.lseek(blob, 0, os.SEEK_SET)
    reading, writing = os.pipe2(os.O_CLOEXEC)
    command = (
        sys.executable, "-I", "-m", "vordr.images.unpack_child", str(target), str(writing),
        msgspec.json.encode(request).decode(),
    )
    with open(reading, "rb", buffering=0) as pipe, tempfile.TemporaryFile() as said:
        try:
            child = subprocess.Popen(
                command, stdin=blob, stdout=said, stderr=said, pass_fds=(writing,), cwd="/"
            )
        finally:
            os.close(writing)
        with child:
            try:
                answer = _read_report(pipe.fileno(), blob, request.blob_size, progress)
            except BaseException:
                child.kill()
                raise
        if not answer:
            said.seek(0)
            last = said.read(1 << 16).decode(errors="replace").strip().splitlines()[-1:]
            raise RuntimeFailed(f"unpacking layer {diff_id} ended with {child.returncode}: {''.join(last)}")
    try:
        return _REPORTS.decode(answer)
    except msgspec.DecodeError as error:
        raise RuntimeFailed(f"unpacking layer {diff_id} gave a report that cannot be read: {error}") from None


def _read_report(pipe: int, blob: int, size: int, progress: Progress) -> bytes:
    """All of the report. The blob's offset is shared with the child, so it tells how far the child is."""
    fcntl.fcntl(pipe, fcntl.F_SETFL, os.O_NONBLOCK)
    parts: list[bytes] = []
    total = 0
    while True:
        if not select.select([pipe], [], [], _TICK)[0]:
            progress("unpacking layer", os.lseek(blob, 0, os.SEEK_CUR), size)
            continue
        chunk = os.read(pipe, 1 << 16)
        if not chunk:
            progress("unpacking layer", size, size)
            return b"".join(parts)
        parts.append(chunk)
        total += len(chunk)
        if total > _LONGEST_REPORT:
            raise ImageUnreadable("a layer with too many opaque folders")


def _as_error(report: Failure, diff_id: str) -> ImageUnreadable | LayerSpaceExhausted | RuntimeFailed:
    message = f"layer {diff_id}: {report.message}"
    match report.error:
        case "full":
            return LayerSpaceExhausted(f"no space left while unpacking layer {diff_id}")
        case "invalid" | "limit":
            return ImageUnreadable(message, details={"diff_id": diff_id})
        case _:
            return RuntimeFailed(f"unpacking {message}")


def _mark_opaque(target: Path, path: bytes) -> None:
    """Set overlayfs' mark on a folder of the unpacked tree, walking to it without following any symlink."""
    descriptor = os.open(target, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        for part in path.split(b"/"):
            if part in (b"", b".."):
                continue
            flags = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC | os.O_NOFOLLOW
            inner = os.open(part, flags, dir_fd=descriptor)
            os.close(descriptor)
            descriptor = inner
        os.setxattr(descriptor, "trusted.overlay.opaque", b"y")
    finally:
        os.close(descriptor)
