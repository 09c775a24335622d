"""Layer blobs as a hashed, bounded stream of tar bytes: plain, gzip (RFC 1952) or zstd (RFC 8878)."""

from __future__ import annotations

import ctypes
import hashlib
import zlib
from collections.abc import Callable, Iterator
from enum import Enum
from typing import Final

from vordr.images.limits import Limits

_IN: Final = 1 << 17
_OUT: Final = 1 << 18
# 128 MiB, what the zstd program itself accepts without --long.
_ZSTD_WINDOW_LOG: Final = 27
_ZSTD_D_WINDOW_LOG_MAX: Final = 100


class Compression(Enum):
    """How a layer's tar is packed."""

    NONE = "none"
    GZIP = "gzip"
    ZSTD = "zstd"


class BlobInvalid(ValueError):
    """The blob is not what its media type says."""


class LimitExceeded(ValueError):
    """The layer unpacks to more than its limits allow."""


class TarSource:
    """The tar bytes of a blob: read in order, hashed (the diffID), and cut off at the limits.

    ``take(n)`` gives up to n bytes of the blob; ``blob_size`` is its length.
    """

    def __init__(
        self, take: Callable[[int], bytes], blob_size: int, compression: Compression, limits: Limits
    ) -> None:
        self._chunks = _chunks(take, compression)
        self._limits = limits
        self._ceiling = max(limits.ratio_from, limits.ratio * blob_size)
        self._hash = hashlib.sha256()
        self._rest = memoryview(b"")
        self.total = 0

    def read(self, size: int) -> bytes:
        """Exactly ``size`` bytes, fewer only at the end. Raises BlobInvalid and LimitExceeded."""
        if len(self._rest) >= size:
            part, self._rest = self._rest[:size], self._rest[size:]
            return bytes(part)
        parts = []
        while size:
            if not self._rest and not self._fill():
                break
            part, self._rest = self._rest[:size], self._rest[size:]
            parts.append(part)
            size -= len(part)
        return b"".join(parts)

    def drain(self) -> str:
        """Read what is left and return the diffID, ``sha256:<hex>`` over all bytes of the stream."""
        self._rest = memoryview(b"")
        while self._fill():
            self._rest = memoryview(b"")
        return f"sha256:{self._hash.hexdigest()}"

    def _fill(self) -> bool:
        chunk = next(self._chunks, b"")
        self._hash.update(chunk)
        self.total += len(chunk)
        if self.total > self._limits.stream_bytes:
            raise LimitExceeded(f"the layer unpacks to more than {self._limits.stream_bytes} bytes")
        if self.total > self._ceiling:
            raise LimitExceeded(f"the layer unpacks to more than {self._limits.ratio} times its size")
        self._rest = memoryview(chunk)
        return bool(chunk)


def _chunks(take: Callable[[int], bytes], compression: Compression) -> Iterator[bytes]:
    match compression:
        case Compression.NONE:
            while chunk := take(_IN):
                yield chunk
        case Compression.GZIP:
            yield from _gunzip(take)
        case Compression.ZSTD:
            yield from _unzstd(take)


def _gunzip(take: Callable[[int], bytes]) -> Iterator[bytes]:
    """All members of a gzip file (eStargz has thousands); anything else after one is refused."""
    pending = take(_IN)
    if not pending:
        raise BlobInvalid("an empty gzip blob")
    while pending:
        engine = zlib.decompressobj(wbits=zlib.MAX_WBITS | 16)
        while not engine.eof:
            if not pending and not (pending := take(_IN)):
                raise BlobInvalid("the gzip stream ends early")
            try:
                chunk = engine.decompress(pending, _OUT)
            except zlib.error as error:
                raise BlobInvalid(f"not gzip: {error}") from None
            pending = engine.unconsumed_tail
            if chunk:
                yield chunk
        pending = engine.unused_data or take(_IN)


class _Buffer(ctypes.Structure):
    """ZSTD_inBuffer and ZSTD_outBuffer (zstd.h): pointer, size, position."""

    _fields_ = [("data", ctypes.c_void_p), ("size", ctypes.c_size_t), ("position", ctypes.c_size_t)]


def load_zstd() -> ctypes.CDLL:
    """libzstd, which must be loaded before the unpacking child closes itself in. Raises BlobInvalid."""
    try:
        library = ctypes.CDLL("libzstd.so.1")
    except OSError:
        raise BlobInvalid("zstd layers need libzstd (apt install libzstd1)") from None
    library.ZSTD_createDCtx.restype = ctypes.c_void_p
    library.ZSTD_freeDCtx.argtypes = [ctypes.c_void_p]
    library.ZSTD_DCtx_setParameter.argtypes = [ctypes.c_void_p, ctypes.c_int, ctypes.c_int]
    library.ZSTD_decompressStream.restype = ctypes.c_size_t
    library.ZSTD_decompressStream.argtypes = [
        ctypes.c_void_p, ctypes.POINTER(_Buffer), ctypes.POINTER(_Buffer)
    ]
    library.ZSTD_isError.argtypes = [ctypes.c_size_t]
    library.ZSTD_getErrorName.argtypes = [ctypes.c_size_t]
    library.ZSTD_getErrorName.restype = ctypes.c_char_p
    return library


def _unzstd(take: Callable[[int], bytes]) -> Iterator[bytes]:
    """All frames of a zstd file, by libzstd's streaming interface."""
    library = load_zstd()
    context = library.ZSTD_createDCtx()
    if not context:
        raise MemoryError("ZSTD_createDCtx")
    output = ctypes.create_string_buffer(_OUT)
    try:
        library.ZSTD_DCtx_setParameter(context, _ZSTD_D_WINDOW_LOG_MAX, _ZSTD_WINDOW_LOG)
        wanted = 1
        while chunk := take(_IN):
            held = ctypes.create_string_buffer(chunk, len(chunk))
            source = _Buffer(ctypes.addressof(held), len(chunk), 0)
            produced = _OUT
            # A full output buffer may mean that more waits inside, even when all input is consumed.
            while source.position < source.size or (produced == _OUT and wanted):
                target = _Buffer(ctypes.addressof(output), _OUT, 0)
                wanted = library.ZSTD_decompressStream(context, ctypes.byref(target), ctypes.byref(source))
                if library.ZSTD_isError(wanted):
                    raise BlobInvalid(f"not zstd: {library.ZSTD_getErrorName(wanted).decode()}")
                produced = target.position
                if produced:
                    yield output.raw[:produced]
        if wanted != 0:
            raise BlobInvalid("the zstd stream ends early")
    finally:
        library.ZSTD_freeDCtx(context)
