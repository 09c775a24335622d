"""The Merkle tree over the records (RFC 9162 §2.1), kept so that proofs need O(log n) reads.

In the manner of C2SP tlog-tiles: a tile of level L, index N holds the hashes of up to 256 full subtrees of
2**(8 L) leaves each, from subtree 256 N on. A full tile never changes. The tile at the right edge is stored
with each subtree it gains (L ≥ 1), or kept in memory and made again from the records (L = 0).
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Final

from vordr.formats import merkle
from vordr.formats.errors import FormatError
from vordr.journal.layout import FRONTIER_KEY, HASH_SIZE, TREE

WIDTH: Final = 256
HEIGHT: Final = 8

Get = Callable[[bytes], bytes | None]
"""Database key → value."""


def tile_key(level: int, index: int) -> bytes:
    return TREE + bytes([level]) + index.to_bytes(8, "big")


@dataclass(frozen=True)
class Tree:
    """The tree at one size, as a value: right edge, and the unfinished tile of each level."""

    frontier: merkle.Frontier
    open: tuple[tuple[bytes, ...], ...]

    @property
    def size(self) -> int:
        return self.frontier.size

    def root(self) -> bytes:
        return self.frontier.root()

    def fetch(self, get: Get) -> merkle.Fetch:
        """The full subtrees of this tree, as proofs ask for them; at most one ``get`` for each.

        The returned function raises FormatError where a tile is missing or too short.
        """

        def subtree(level: int, index: int) -> bytes:
            tile_level, height = divmod(level, HEIGHT)
            tile, first = divmod(index << height, WIDTH)
            last = first + (1 << height)
            if tile == (self.size >> HEIGHT * tile_level) // WIDTH:
                hashes: Iterable[bytes] = self.open[tile_level][first:last]
            else:
                hashes = _cut((get(tile_key(tile_level, tile)) or b"")[first * HASH_SIZE : last * HASH_SIZE])
            found = list(hashes)
            if len(found) != 1 << height:
                raise FormatError(f"tile {tile_level}/{tile}", "missing or too short")
            while len(found) > 1:
                found = level_above(found)
            return found[0]

        return subtree

    def root_at(self, size: int, get: Get) -> bytes:
        """The root when the tree had ``size`` leaves (at most what it has now). Raises as :meth:`fetch`."""
        if size == self.size:
            return self.root()
        return edge(size, self.fetch(get)).root()


def level_above(nodes: list[bytes]) -> list[bytes]:
    """The parents of full subtrees of one level, in order; an odd last one has none yet."""
    sha256, pairs = hashlib.sha256, iter(nodes)
    # merkle.node_hash, without a call for each of millions
    return [sha256(b"\x01" + left + right).digest() for left, right in zip(pairs, pairs, strict=False)]


def edge(size: int, fetch: merkle.Fetch) -> merkle.Frontier:
    """The right edge of the tree of the first ``size`` leaves."""
    levels = [level for level in reversed(range(size.bit_length())) if size >> level & 1]
    return merkle.Frontier(size, tuple(fetch(level, (size >> level) - 1) for level in levels))


class Growth:
    """A tree being appended to; ``puts`` are the database writes that make the new one readable."""

    def __init__(self, tree: Tree) -> None:
        self._size = tree.size
        self._edge = list(tree.frontier.nodes)
        self._open = [list(hashes) for hashes in tree.open]
        self._puts: dict[bytes, bytes] = {}

    def append(self, leaf: bytes) -> None:
        """Add one leaf *hash*."""
        node, level = leaf, 0
        self._keep(0, self._size, node)
        while self._size >> level & 1:  # as merkle.Frontier.grow, but without a value for each leaf
            node, level = merkle.node_hash(self._edge.pop(), node), level + 1
            if level % HEIGHT == 0:
                self._keep(level // HEIGHT, self._size >> level, node)
        self._edge.append(node)
        self._size += 1

    def _keep(self, level: int, index: int, node: bytes) -> None:
        """Put a full subtree into its tile."""
        while len(self._open) <= level:
            self._open.append([])
        hashes = self._open[level]
        hashes.append(node)
        full = len(hashes) == WIDTH
        if full or level:
            self._puts[tile_key(level, index // WIDTH)] = b"".join(hashes)
        if full:
            hashes.clear()

    def finish(self) -> tuple[Tree, dict[bytes, bytes]]:
        """The tree now, and the database puts since the one this began with."""
        frontier = merkle.Frontier(self._size, tuple(self._edge))
        puts = {**self._puts, FRONTIER_KEY: frontier.to_bytes()}
        return Tree(frontier, tuple(map(tuple, self._open))), puts


EMPTY: Final = Tree(merkle.Frontier(), ())


def load(get: Get, last_leaves: Callable[[int], list[bytes]]) -> Tree:
    """The tree as the database has it; ``last_leaves(n)`` gives the hashes of its last n leaves.

    :raises FormatError: the parts do not fit each other.
    """
    raw = get(FRONTIER_KEY)
    if raw is None:
        return EMPTY
    frontier = merkle.Frontier.from_bytes(raw)
    tiles: list[tuple[bytes, ...]] = []
    level = 0
    while count := frontier.size >> HEIGHT * level:
        tile, width = divmod(count, WIDTH)
        if level == 0:
            hashes = last_leaves(width)
        else:
            hashes = _cut(get(tile_key(level, tile)) or b"") if width else []
        if len(hashes) != width:
            raise FormatError(f"tile {level}/{tile}", f"has {len(hashes)} hashes instead of {width}")
        tiles.append(tuple(hashes))
        level += 1
    return Tree(frontier, tuple(tiles))


def _cut(data: bytes) -> list[bytes]:
    return [data[at : at + HASH_SIZE] for at in range(0, len(data), HASH_SIZE)]
