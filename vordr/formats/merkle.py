"""Merkle trees of RFC 9162 §2.1 with SHA-256: hashes, inclusion and consistency proofs, and their checks.

A *full subtree* at (level, index) covers the 2**level leaves from index * 2**level on; level 0 are the leaf
hashes. Proofs are made from full subtrees alone, so a large tree needs no more than a source of these
(:data:`Fetch`): an array of levels, or tiles on disk.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import reduce

from vordr.formats.errors import FormatError

HASH_SIZE = 32
EMPTY_ROOT = hashlib.sha256(b"").digest()
MAX_SIZE = 2**63 - 1

Fetch = Callable[[int, int], bytes]
"""(level, index) → hash of that full subtree, 32 bytes."""


def leaf_hash(entry: bytes) -> bytes:
    """SHA-256(0x00 ‖ entry)."""
    return hashlib.sha256(b"\x00" + entry).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    """SHA-256(0x01 ‖ left ‖ right)."""
    return hashlib.sha256(b"\x01" + left + right).digest()


@dataclass(frozen=True, slots=True)
class Node:
    """A full subtree: its place and its hash."""

    level: int
    index: int
    hash: bytes


@dataclass(frozen=True, slots=True)
class Frontier:
    """What is needed to append to a tree and to know its root: the hashes of the full subtrees on its right
    edge, the largest first, one for each bit set in ``size``. A value: :meth:`append` returns a new one.
    """

    size: int = 0
    nodes: tuple[bytes, ...] = ()

    def __post_init__(self) -> None:
        if not 0 <= self.size <= MAX_SIZE:
            raise FormatError("frontier", f"size {self.size} out of range")
        if len(self.nodes) != self.size.bit_count() or any(len(node) != HASH_SIZE for node in self.nodes):
            raise FormatError("frontier", f"needs {self.size.bit_count()} hashes of 32 bytes")

    def append(self, leaf: bytes) -> Frontier:
        """The frontier after one more leaf *hash*."""
        return self.grow(leaf)[0]

    def grow(self, leaf: bytes) -> tuple[Frontier, tuple[Node, ...]]:
        """As :meth:`append`, and the full subtrees that this leaf completes, level 0 first: what a node
        source has to keep so that proofs can be made from it."""
        if len(leaf) != HASH_SIZE:
            raise FormatError("frontier", "a leaf hash has 32 bytes")
        kept = list(self.nodes)
        done = [Node(0, self.size, leaf)]
        while self.size >> done[-1].level & 1:
            last = done[-1]
            done.append(Node(last.level + 1, last.index >> 1, node_hash(kept.pop(), last.hash)))
        kept.append(done[-1].hash)
        return Frontier(self.size + 1, tuple(kept)), tuple(done)

    def root(self) -> bytes:
        """The tree hash at this size."""
        return _fold(self.nodes) if self.nodes else EMPTY_ROOT

    def to_bytes(self) -> bytes:
        """Size in 8 bytes, big-endian, then the hashes."""
        return self.size.to_bytes(8, "big") + b"".join(self.nodes)

    @classmethod
    def from_bytes(cls, data: bytes) -> Frontier:
        """:raises FormatError: the number of hashes does not fit the size."""
        if len(data) < 8:
            raise FormatError("frontier", "shorter than its size field")
        hashes = tuple(data[at : at + HASH_SIZE] for at in range(8, len(data), HASH_SIZE))
        return cls(int.from_bytes(data[:8], "big"), hashes)


def root(leaf_hashes: Sequence[bytes]) -> bytes:
    """MTH of RFC 9162 §2.1.1, of leaf *hashes*."""
    frontier = Frontier()
    for leaf in leaf_hashes:
        frontier = frontier.append(leaf)
    return frontier.root()


# -- making proofs ---------------------------------------------------------------------------------


def inclusion_path(index: int, leaf_hashes: Sequence[bytes]) -> list[bytes]:
    """PATH(index, D) of RFC 9162 §2.1.3.1, nearest sibling first."""
    return inclusion_path_from(index, len(leaf_hashes), _in_memory(leaf_hashes))


def inclusion_path_from(index: int, size: int, fetch: Fetch) -> list[bytes]:
    """As :func:`inclusion_path`, asking ``fetch`` for O(log² size) full subtrees at most.

    :raises FormatError: no such leaf in a tree of ``size``.
    """
    if not 0 <= index < size <= MAX_SIZE:
        raise FormatError("merkle", f"no leaf {index} in a tree of {size}")
    path: list[bytes] = []
    begin, end = 0, size
    while end - begin > 1:
        middle = begin + _split(end - begin)
        if index < middle:
            path.append(_range_root(middle, end, fetch))
            end = middle
        else:
            path.append(_range_root(begin, middle, fetch))
            begin = middle
    path.reverse()
    return path


def consistency_path(m: int, leaf_hashes: Sequence[bytes]) -> list[bytes]:
    """PROOF(m, D) of RFC 9162 §2.1.4.1; empty for m = 0 and for m = len(D)."""
    return consistency_path_from(m, len(leaf_hashes), _in_memory(leaf_hashes))


def consistency_path_from(m: int, n: int, fetch: Fetch) -> list[bytes]:
    """As :func:`consistency_path`, from full subtrees.

    :raises FormatError: m is not within 0..n.
    """
    if not 0 <= m <= n <= MAX_SIZE:
        raise FormatError("merkle", f"no consistency of size {m} with size {n}")
    if m in (0, n):
        return []
    path: list[bytes] = []
    begin, end = 0, n
    while end != m:
        middle = begin + _split(end - begin)
        if m <= middle:
            path.append(_range_root(middle, end, fetch))
            end = middle
        else:
            path.append(_range_root(begin, middle, fetch))
            begin = middle
    if begin != 0:  # else the old tree is itself a full subtree, and the verifier has its root
        path.append(_range_root(begin, end, fetch))
    path.reverse()
    return path


def _split(count: int) -> int:
    """The largest power of two below ``count`` (≥ 2)."""
    return 1 << (count - 1).bit_length() - 1


def _range_root(begin: int, end: int, fetch: Fetch) -> bytes:
    """The hash of leaves [begin, end), where begin is a multiple of a power of two ≥ end - begin."""
    hashes: list[bytes] = []
    while begin < end:
        level = (end - begin).bit_length() - 1
        hashes.append(fetch(level, begin >> level))
        begin += 1 << level
    return _fold(hashes)


def _fold(hashes: Sequence[bytes]) -> bytes:
    """The hash over full subtrees of falling size, left to right."""
    return reduce(lambda right, left: node_hash(left, right), reversed(hashes))


def _in_memory(leaf_hashes: Sequence[bytes]) -> Fetch:
    levels = [list(leaf_hashes)]
    while len(levels[-1]) > 1:
        below = levels[-1]
        levels.append([node_hash(below[at], below[at + 1]) for at in range(0, len(below) - 1, 2)])
    return lambda level, index: levels[level][index]


# -- checking proofs -------------------------------------------------------------------------------


def verify_inclusion(index: int, size: int, leaf: bytes, path: Sequence[bytes], root_hash: bytes) -> bool:
    """Whether ``path`` proves that the leaf hash ``leaf`` is number ``index`` of the tree of ``size`` leaves
    with ``root_hash`` (RFC 9162 §2.1.3.2). False for anything malformed; never raises."""
    if not 0 <= index < size <= MAX_SIZE or not _all_hashes((leaf, root_hash, *path)):
        return False
    fn, sn, r = index, size - 1, leaf
    for p in path:
        if sn == 0:
            return False
        if fn & 1 or fn == sn:
            r = node_hash(p, r)
            while not fn & 1 and fn != 0:
                fn, sn = fn >> 1, sn >> 1
        else:
            r = node_hash(r, p)
        fn, sn = fn >> 1, sn >> 1
    return sn == 0 and r == root_hash


def verify_consistency(m: int, n: int, root_m: bytes, root_n: bytes, path: Sequence[bytes]) -> bool:
    """Whether ``path`` proves that the tree (m, root_m) is a prefix of the tree (n, root_n)
    (RFC 9162 §2.1.4.2). False for anything malformed; never raises.

    Beyond the RFC: the empty tree is a prefix of every tree, and a tree of itself, both by an empty path.
    """
    if not 0 <= m <= n <= MAX_SIZE or not _all_hashes((root_m, root_n, *path)):
        return False
    if (m == 0 and root_m != EMPTY_ROOT) or (n == 0 and root_n != EMPTY_ROOT):
        return False
    if m == n:
        return root_m == root_n and not path
    if m == 0:
        return not path
    if not path:
        return False
    rest = list(path)
    if m & (m - 1) == 0:
        rest.insert(0, root_m)
    fn, sn = m - 1, n - 1
    while fn & 1:
        fn, sn = fn >> 1, sn >> 1
    fr = sr = rest[0]
    for c in rest[1:]:
        if sn == 0:
            return False
        if fn & 1 or fn == sn:
            fr, sr = node_hash(c, fr), node_hash(c, sr)
            while not fn & 1 and fn != 0:
                fn, sn = fn >> 1, sn >> 1
        else:
            sr = node_hash(sr, c)
        fn, sn = fn >> 1, sn >> 1
    return sn == 0 and fr == root_m and sr == root_n


def _all_hashes(values: Sequence[bytes]) -> bool:
    return all(isinstance(value, bytes) and len(value) == HASH_SIZE for value in values)
