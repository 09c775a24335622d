from __future__ import annotations

import hashlib

import pytest

from vordr.formats import FormatError, merkle
from vordr.formats.merkle import Frontier

# The reference vectors of certificate-transparency: eight entries, the root after each.
ENTRIES = [
    bytes.fromhex(text)
    for text in (
        "", "00", "10", "2021", "3031", "40414243", "5051525354555657", "606162636465666768696a6b6c6d6e6f",
    )
]
LEAVES = [merkle.leaf_hash(entry) for entry in ENTRIES]
ROOTS = [
    "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
    "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
    "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
    "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
    "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
]
A = "96a296d224f285c67bee93c30f8a309157f0daa35dc5b87e410b78630a09cfc7"
B = "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e"
C = "6b47aaf29ee3c2af9af889bc1fb9254dabd31177f16232dd6aab035ca39bf6e4"
D = "bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b"
E = "ca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0"
F = "0ebc5d3437fbe2db158b9f126a1d118e308181031d0a949f8dededebc558ef6a"


def _hex(path: list[bytes]) -> list[str]:
    return [one.hex() for one in path]


@pytest.mark.parametrize("size", range(9))
def test_roots_are_those_of_the_reference_vectors(size: int) -> None:
    assert merkle.root(LEAVES[:size]).hex() == ROOTS[size]


@pytest.mark.parametrize(
    ("index", "size", "path"),
    [(0, 1, []), (0, 8, [A, B, C]), (5, 8, [D, E, ROOTS[4]]), (2, 3, [ROOTS[2]])],
)
def test_inclusion_paths_are_those_of_the_reference_vectors(index: int, size: int, path: list[str]) -> None:
    assert _hex(merkle.inclusion_path(index, LEAVES[:size])) == path


@pytest.mark.parametrize(
    ("m", "n", "path"),
    [(1, 1, []), (1, 8, [A, B, C]), (6, 8, [F, E, ROOTS[4]]), (2, 5, [B, D]), (2, 8, [B, C])],
)
def test_consistency_paths_are_those_of_the_reference_vectors(m: int, n: int, path: list[str]) -> None:
    assert _hex(merkle.consistency_path(m, LEAVES[:n])) == path
    root_m, root_n = bytes.fromhex(ROOTS[m]), bytes.fromhex(ROOTS[n])
    assert merkle.verify_consistency(m, n, root_m, root_n, [bytes.fromhex(one) for one in path])


def test_a_leaf_is_not_a_node() -> None:
    """Without the prefixes, the two children of a node would pass for an entry (second preimage)."""
    left, right = LEAVES[:2]
    assert merkle.leaf_hash(left + right) != merkle.node_hash(left, right)


@pytest.mark.parametrize(("index", "size"), [(0, 0), (1, 1), (-1, 3), (9, 8)])
def test_no_path_for_a_leaf_that_is_not_there(index: int, size: int) -> None:
    with pytest.raises(FormatError):
        merkle.inclusion_path(index, LEAVES[:size])
    assert not merkle.verify_inclusion(index, size, LEAVES[0], [], merkle.root(LEAVES[:size]))


@pytest.mark.parametrize(("m", "n"), [(-1, 3), (4, 3)])
def test_no_consistency_with_a_smaller_tree(m: int, n: int) -> None:
    with pytest.raises(FormatError):
        merkle.consistency_path(m, LEAVES[:n])
    assert not merkle.verify_consistency(m, n, merkle.EMPTY_ROOT, merkle.root(LEAVES[:n]), [])


def test_the_empty_tree_is_a_prefix_of_every_tree_but_only_under_its_own_root() -> None:
    root = merkle.root(LEAVES)
    assert merkle.verify_consistency(0, 8, merkle.EMPTY_ROOT, root, [])
    assert not merkle.verify_consistency(0, 8, root, root, [])
    assert not merkle.verify_consistency(0, 8, merkle.EMPTY_ROOT, root, [root])
    assert merkle.verify_consistency(0, 0, merkle.EMPTY_ROOT, merkle.EMPTY_ROOT, [])
    assert not merkle.verify_consistency(0, 0, root, root, [])


def test_a_tree_of_the_same_size_has_the_same_root() -> None:
    root, other = merkle.root(LEAVES), merkle.root(LEAVES[::-1])
    assert merkle.verify_consistency(8, 8, root, root, [])
    assert not merkle.verify_consistency(8, 8, root, other, [])
    assert not merkle.verify_consistency(8, 8, root, root, [root])


def test_hashes_of_another_length_prove_nothing() -> None:
    path, root = merkle.inclusion_path(3, LEAVES), merkle.root(LEAVES)
    assert merkle.verify_inclusion(3, 8, LEAVES[3], path, root)
    assert not merkle.verify_inclusion(3, 8, LEAVES[3], [*path[:-1], path[-1] + b"\x00"], root)
    assert not merkle.verify_inclusion(3, 8, LEAVES[3][:-1], path, root)


def test_a_proof_that_ends_below_the_claimed_top_proves_nothing() -> None:
    """The hashes fit, but a tree of the claimed size has levels above them."""
    root = merkle.root(LEAVES)
    assert not merkle.verify_inclusion(0, 16, LEAVES[0], merkle.inclusion_path(0, LEAVES), root)
    half = merkle.root(LEAVES[:4])
    assert not merkle.verify_consistency(4, 16, half, root, merkle.consistency_path(4, LEAVES))


def test_a_frontier_is_a_value() -> None:
    before = merkle.Frontier()
    after = before.append(LEAVES[0])
    assert (before.size, after.size) == (0, 1)
    assert before.root() == merkle.EMPTY_ROOT


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\x00" * 7,
        (1).to_bytes(8, "big"),
        (2).to_bytes(8, "big") + b"x" * 64,
        (3).to_bytes(8, "big") + b"x" * 63,
        (1).to_bytes(8, "big") + b"x" * 33,
        b"\xff" * 8 + b"x" * 64 * 32,
    ],
)
def test_a_frontier_of_the_wrong_length_is_refused(data: bytes) -> None:
    with pytest.raises(FormatError):
        merkle.Frontier.from_bytes(data)


def test_a_leaf_hash_has_32_bytes() -> None:
    with pytest.raises(FormatError):
        merkle.Frontier().append(b"entry, not its hash")


def test_paths_of_a_tree_of_two_to_the_forty_leaves_need_few_subtrees() -> None:
    asked: list[tuple[int, int]] = []

    def fetch(level: int, index: int) -> bytes:
        """All leaves alike, so every full subtree of a level has the same hash."""
        asked.append((level, index))
        node = LEAVES[0]
        for _ in range(level):
            node = merkle.node_hash(node, node)
        return node

    size = 2**40 + 2**20 + 7
    nodes = tuple(fetch(bit, 0) for bit in range(40, -1, -1) if size >> bit & 1)
    root = merkle.Frontier(size, nodes).root()
    asked.clear()
    path = merkle.inclusion_path_from(size - 1, size, fetch)
    assert merkle.verify_inclusion(size - 1, size, LEAVES[0], path, root)
    path = merkle.inclusion_path_from(12345, size, fetch)
    assert merkle.verify_inclusion(12345, size, LEAVES[0], path, root)
    old = merkle.Frontier(2**39 + 1, (fetch(39, 0), fetch(0, 0))).root()
    path = merkle.consistency_path_from(2**39 + 1, size, fetch)
    assert merkle.verify_consistency(2**39 + 1, size, old, root, path)
    assert len(asked) < 200
    assert all((index + 1) << level <= size for level, index in asked)


def test_the_empty_frontier_is_eight_bytes_and_read_back() -> None:
    assert Frontier().to_bytes() == bytes(8)
    assert Frontier.from_bytes(bytes(8)) == Frontier()


def test_every_tree_has_an_empty_proof_from_nothing_and_from_itself() -> None:
    leaves = [merkle.leaf_hash(bytes([n])) for n in range(5)]
    assert merkle.consistency_path(0, leaves) == merkle.consistency_path(5, leaves) == []
    assert merkle.consistency_path(0, []) == []


def test_hashes_of_another_length_show_no_consistency() -> None:
    short, whole = bytes(31), bytes(32)
    assert merkle.verify_consistency(1, 1, whole, whole, [])
    assert not merkle.verify_consistency(1, 1, short, short, [])
    one, two = merkle.leaf_hash(b"1"), merkle.leaf_hash(b"2")
    assert merkle.verify_consistency(1, 2, one, merkle.node_hash(one, two), [two])
    assert not merkle.verify_consistency(1, 2, one, merkle.node_hash(one, two), [two[:31]])


def test_the_largest_tree_has_proofs_and_one_larger_has_none() -> None:
    largest, root = merkle.MAX_SIZE, merkle.leaf_hash(b"root")
    assert len(merkle.inclusion_path_from(0, largest, lambda level, index: root)) == 63
    assert len(merkle.consistency_path_from(1, largest, lambda level, index: root)) == 63
    assert merkle.verify_consistency(largest, largest, root, root, [])
    assert not merkle.verify_consistency(largest + 1, largest + 1, root, root, [])
    path, above = [root] * 63, root
    for _ in path:
        above = merkle.node_hash(above, root)
    assert merkle.verify_inclusion(0, largest, root, path, above)
    for call in (merkle.inclusion_path_from, merkle.consistency_path_from):
        with pytest.raises(FormatError):
            call(1, largest + 1, lambda level, index: root)


def test_the_hashes_are_those_of_the_prefixes() -> None:
    """SHA-256 of 0x00, and of 0x01 and 64 zero bytes."""
    assert merkle.leaf_hash(b"").hex() == "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d"
    assert merkle.node_hash(bytes(32), bytes(32)) == hashlib.sha256(b"\x01" + bytes(64)).digest()


def test_a_frontier_may_be_of_the_largest_tree_and_of_none_larger() -> None:
    assert Frontier(merkle.MAX_SIZE, (bytes(32),) * 63).size == 2**63 - 1
    with pytest.raises(FormatError, match="out of range"):
        Frontier(merkle.MAX_SIZE + 1, (bytes(32),))
