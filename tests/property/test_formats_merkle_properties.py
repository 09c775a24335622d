from __future__ import annotations

import hashlib

from hypothesis import given
from hypothesis import strategies as st

from vordr.formats import merkle

SIZES = st.integers(0, 70)


def leaves(count: int) -> list[bytes]:
    return [merkle.leaf_hash(str(at).encode()) for at in range(count)]


# -- the definitions of RFC 9162 §2.1, word by word ------------------------------------------------


def split(n: int) -> int:
    k = 1
    while k * 2 < n:
        k *= 2
    return k


def mth(d: list[bytes]) -> bytes:
    if not d:
        return hashlib.sha256().digest()
    if len(d) == 1:
        return d[0]
    k = split(len(d))
    return hashlib.sha256(b"\x01" + mth(d[:k]) + mth(d[k:])).digest()


def path(m: int, d: list[bytes]) -> list[bytes]:
    if len(d) == 1:
        return []
    k = split(len(d))
    return [*path(m, d[:k]), mth(d[k:])] if m < k else [*path(m - k, d[k:]), mth(d[:k])]


def subproof(m: int, d: list[bytes], whole: bool) -> list[bytes]:
    if m == len(d):
        return [] if whole else [mth(d)]
    k = split(len(d))
    if m <= k:
        return [*subproof(m, d[:k], whole), mth(d[k:])]
    return [*subproof(m - k, d[k:], False), mth(d[:k])]


@given(SIZES)
def test_root_is_the_recursive_definition(size: int) -> None:
    assert merkle.root(leaves(size)) == mth(leaves(size))


@given(st.data(), st.integers(1, 70))
def test_inclusion_path_is_the_recursive_definition_and_verifies(data: st.DataObject, size: int) -> None:
    index = data.draw(st.integers(0, size - 1))
    d = leaves(size)
    assert merkle.inclusion_path(index, d) == path(index, d)
    assert merkle.verify_inclusion(index, size, d[index], path(index, d), mth(d))


@given(st.data(), st.integers(1, 70))
def test_consistency_path_is_the_recursive_definition_and_verifies(data: st.DataObject, n: int) -> None:
    m = data.draw(st.integers(1, n))
    d = leaves(n)
    assert merkle.consistency_path(m, d) == subproof(m, d, True)
    assert merkle.verify_consistency(m, n, mth(d[:m]), mth(d), subproof(m, d, True))


@given(st.data(), st.integers(1, 40))
def test_a_changed_inclusion_claim_fails(data: st.DataObject, size: int) -> None:
    index = data.draw(st.integers(0, size - 1))
    d = leaves(size)
    proof, root = path(index, d), mth(d)
    other = data.draw(st.integers(0, size - 1).filter(lambda at: at != index) | st.just(size))
    assert not merkle.verify_inclusion(other, size, d[index], proof, root)
    assert not merkle.verify_inclusion(index, size, d[index - 1] if size > 1 else root[::-1], proof, root)
    assert not merkle.verify_inclusion(index, size, d[index], [*proof, root], root)
    for at in range(len(proof)):
        assert not merkle.verify_inclusion(index, size, d[index], proof[:at] + proof[at + 1 :], root)
        flipped = bytes([proof[at][0] ^ 1]) + proof[at][1:]
        changed = [*proof[:at], flipped, *proof[at + 1 :]]
        assert not merkle.verify_inclusion(index, size, d[index], changed, root)


@given(st.data(), st.integers(2, 40))
def test_a_changed_consistency_claim_fails(data: st.DataObject, n: int) -> None:
    m = data.draw(st.integers(1, n - 1))
    d = leaves(n)
    proof, old, new = subproof(m, d, True), mth(d[:m]), mth(d)
    forked = mth([*d[: m - 1], merkle.leaf_hash(b"forked"), *d[m:]])
    assert not merkle.verify_consistency(m, n, old, forked, proof)
    assert not merkle.verify_consistency(m, n, mth(d[: m - 1]), new, proof)
    assert not merkle.verify_consistency(m, n, old, new, [*proof, new])
    for at in range(len(proof)):
        assert not merkle.verify_consistency(m, n, old, new, proof[:at] + proof[at + 1 :])
        flipped = bytes([proof[at][0] ^ 1]) + proof[at][1:]
        assert not merkle.verify_consistency(m, n, old, new, [*proof[:at], flipped, *proof[at + 1 :]])


@given(SIZES)
def test_a_frontier_has_the_root_at_each_size_and_survives_its_bytes(size: int) -> None:
    frontier = merkle.Frontier()
    for at, leaf in enumerate(leaves(size)):
        frontier = merkle.Frontier.from_bytes(frontier.append(leaf).to_bytes())
        assert frontier.size == at + 1
    assert frontier.root() == mth(leaves(size))


@given(st.data(), st.integers(1, 70))
def test_grown_nodes_are_all_a_proof_needs(data: st.DataObject, size: int) -> None:
    d = leaves(size)
    frontier, store = merkle.Frontier(), dict[tuple[int, int], bytes]()
    for leaf in d:
        frontier, nodes = frontier.grow(leaf)
        for node in nodes:
            assert (node.level, node.index) not in store
            store[node.level, node.index] = node.hash
    index, m = data.draw(st.integers(0, size - 1)), data.draw(st.integers(1, size))

    def fetch(level: int, at: int) -> bytes:
        return store[level, at]

    assert merkle.inclusion_path_from(index, size, fetch) == path(index, d)
    assert merkle.consistency_path_from(m, size, fetch) == subproof(m, d, True)
