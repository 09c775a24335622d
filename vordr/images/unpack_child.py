"""The confined child that unpacks one layer: ``python -I -m vordr.images.unpack_child TARGET REPORT_FD
REQUEST``.

Standard input is the blob; what it learns goes to the report descriptor (vordr.images.unpack_wire). It
starts with the host's root rights and gives them up before it reads the first byte: new namespaces, the
target folder as its whole file system, five capabilities, bounded memory.
"""

from __future__ import annotations

import os
import stat
import sys
from collections.abc import Iterator, Sequence

import msgspec

from vordr.formats.typed import decode
from vordr.images import confine
from vordr.images.confine import Capability
from vordr.images.decompress import BlobInvalid, Compression, LimitExceeded, TarSource, load_zstd
from vordr.images.layer_tree import LayerRefused, LayerTree, Place
from vordr.images.limits import Limits
from vordr.images.space import FULL
from vordr.images.tarstream import Member, TarInvalid, Type, members
from vordr.images.unpack_wire import Failure, Report, Request, Success

# The latest time of ext4 (2446-05-10) in ns; a later or earlier one would come back as another.
_LATEST = 15032385535 * 10**9
_IMPLIED_MODE = 0o755
_NEEDED = tuple(Capability)
_DESCRIPTORS = 32


class Writer:
    """The effects of admitted members, relative to the process's root."""

    def __init__(self) -> None:
        self._folders: dict[bytes, int] = {b"": 0}

    def make_folders(self, folders: Sequence[bytes]) -> None:
        """Make folders that no member names. Raises OSError."""
        for folder in folders:
            os.mkdir(b"/" + folder, _IMPLIED_MODE)
            self._folders[folder] = 0

    def write(self, member: Member, place: Place, content: Iterator[bytes]) -> None:
        """Make what ``place`` says. Raises OSError."""
        path = b"/" + place.path
        match member.type:
            case Type.DIRECTORY:
                if not place.exists:
                    os.mkdir(path, 0o700)
                self._folders[place.path] = _time(member)
            case Type.FILE:
                _write_file(path, content)
            case Type.SYMLINK:
                os.symlink(member.link, path)
            case Type.FIFO:
                os.mkfifo(path, 0o600)
            case Type.HARD_LINK:
                # A link has its target's owner, mode and times, whatever the member says of them.
                os.link(b"/" + (place.link or b""), path, follow_symlinks=False)
                return
        _dress(member, path, place)

    def whiteout(self, path: bytes) -> None:
        """Hide a name of the layers below, as overlayfs does: a character device 0:0, for which no right is
        needed.
        """
        os.mknod(b"/" + path, stat.S_IFCHR | 0o000, os.makedev(0, 0))
        os.utime(b"/" + path, ns=(0, 0), follow_symlinks=False)

    def finish(self) -> None:
        """Give the folders their times, which writing into them changed; deepest first."""
        for folder in sorted(self._folders, reverse=True):
            os.utime(b"/" + folder, ns=(self._folders[folder],) * 2)


def _write_file(path: bytes, content: Iterator[bytes]) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
    try:
        for chunk in content:
            view = memoryview(chunk)
            while view:
                view = view[os.write(descriptor, view):]
    finally:
        os.close(descriptor)


def _dress(member: Member, path: bytes, place: Place) -> None:
    """Owner first, since a change of owner clears the set-id bits and capabilities."""
    os.chown(path, member.uid, member.gid, follow_symlinks=False)
    if member.type is not Type.SYMLINK:
        os.chmod(path, member.mode)
    for key, value in place.xattrs.items():
        os.setxattr(path, key, value, follow_symlinks=False)
    if member.type is not Type.DIRECTORY:
        os.utime(path, ns=(_time(member),) * 2, follow_symlinks=False)


def _time(member: Member) -> int:
    return min(max(member.mtime, 0), _LATEST)


def unpack_stream(source: TarSource, limits: Limits) -> Report:
    """Unpack into the process's root and return the report of a success. Raises what _reported names."""
    tree, writer = LayerTree(limits), Writer()
    for member, content in members(source.read):
        admitted = tree.admit(member)
        writer.make_folders(admitted.parents)
        if admitted.place is not None:
            writer.write(member, admitted.place, content)
    diff_id = source.drain()
    for path in tree.whiteouts():
        writer.whiteout(path)
    writer.finish()
    return Success(diff_id, tree.entries, source.total, [path.hex() for path in tree.opaque()])


def _read_blob(size: int) -> bytes:
    return os.read(0, size)


def _reported(target: str, request: Request) -> Report:
    """Confine, unpack, and say in the report's words what went wrong."""
    try:
        last = confine.last_capability()
        confine.pivot_into(target)
        confine.keep_only(_NEEDED, last)
        confine.limit(request.limits.memory, _DESCRIPTORS)
        os.umask(0)
        source = TarSource(_read_blob, request.blob_size, request.compression, request.limits)
        return unpack_stream(source, request.limits)
    except (TarInvalid, LayerRefused, BlobInvalid) as error:
        return Failure("invalid", str(error))
    except LimitExceeded as error:
        return Failure("limit", str(error))
    except MemoryError:
        return Failure("limit", f"unpacking takes more than {request.limits.memory} bytes of memory")
    except OSError as error:
        return Failure("full" if error.errno in FULL else "system", str(error))


def main(arguments: Sequence[str]) -> int:
    """Unpack as the arguments say; the exit status only tells whether a report was written."""
    target, report = arguments[0], int(arguments[1])
    request = decode(arguments[2], Request)
    confine.die_with_parent()
    if request.compression is Compression.ZSTD:
        # Now, because the library's file cannot be reached from inside.
        load_zstd()
    confine.own_namespaces()
    child = os.fork()
    if child:
        os.close(report)
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) & 0xFF
    confine.die_with_parent()
    with open(report, "wb") as file:
        file.write(msgspec.json.encode(_reported(target, request)))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
