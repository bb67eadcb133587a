"""The tree: RFC 6962's own vectors, and every proof of small trees."""

from __future__ import annotations

from hashlib import sha256

import pytest
from hypothesis import given
from hypothesis import strategies as st

from otel_agent_journal.seals.tree import (
    EMPTY_ROOT,
    Frontier,
    consistency_proof,
    goes_on,
    includes,
    inclusion_proof,
    leaf_hash,
    node_hash,
    root_of,
)

# The inputs and roots that Certificate Transparency's own implementations are tested with.
INPUTS = ["", "00", "10", "2021", "3031", "40414243", "5051525354555657", "606162636465666768696a6b6c6d6e6f"]
ROOTS = [
    "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
    "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
    "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
    "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
]
# Of the tree of these eight: audit paths and consistency, from the same tests.
PATHS = {
    (0, 8): [
        "96a296d224f285c67bee93c30f8a309157f0daa35dc5b87e410b78630a09cfc7",
        "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
        "6b47aaf29ee3c2af9af889bc1fb9254dabd31177f16232dd6aab035ca39bf6e4",
    ],
    (5, 8): [
        "bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b",
        "ca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0",
        "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    ],
    (2, 3): ["fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125"],
}
CONSISTENCY = {
    (1, 8): PATHS[0, 8],
    (6, 8): [
        "0ebc5d3437fbe2db158b9f126a1d118e308181031d0a949f8dededebc558ef6a",
        "ca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0",
        "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    ],
    (2, 5): [
        "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
        "bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b",
    ],
}
LEAVES = [leaf_hash(bytes.fromhex(one)) for one in INPUTS]


def numbered(count: int) -> list[bytes]:
    """Return so many leaves."""
    return [leaf_hash(str(number).encode()) for number in range(count)]


def test_roots_are_those_of_rfc_6962() -> None:
    """The root of each beginning of the known leaves is the published one; of nothing it is the hash of nothing."""
    assert [root_of(LEAVES[:size]).hex() for size in range(1, 9)] == ROOTS
    assert root_of([]) == EMPTY_ROOT == sha256(b"").digest()


@pytest.mark.parametrize(("place", "path"), PATHS.items())
def test_paths_are_those_of_rfc_6962(place: tuple[int, int], path: list[str]) -> None:
    """The proof that a leaf is in a tree is the published one."""
    index, size = place
    assert [node.hex() for node in inclusion_proof(LEAVES[:size], index)] == path


@pytest.mark.parametrize(("sizes", "path"), CONSISTENCY.items())
def test_consistency_is_that_of_rfc_6962(sizes: tuple[int, int], path: list[str]) -> None:
    """The proof that a tree goes on from another is the published one."""
    assert [node.hex() for node in consistency_proof(LEAVES[: sizes[1]], sizes[0])] == path


def test_every_leaf_of_every_small_tree_is_shown() -> None:
    """Each leaf is shown to be where it is, and nowhere else; what was changed of a proof shows nothing."""
    for size in range(1, 40):
        leaves = numbered(size)
        root = root_of(leaves)
        for index in range(size):
            proof = inclusion_proof(leaves, index)
            assert includes(root, size, leaves[index], index, proof)
            assert not includes(root, size, leaves[index], (index + 1) % (size + 1), proof)
            assert not includes(root, size, leaf_hash(b"other"), index, proof)
            assert not includes(root, size, leaves[index], index, [*proof, root])
            assert not proof or not includes(root, size, leaves[index], index, proof[:-1])


def test_every_growth_of_every_small_tree_is_shown() -> None:
    """A tree goes on from each beginning of itself, and from nothing else."""
    for size in range(1, 24):
        leaves = numbered(size)
        for old in range(1, size + 1):
            proof = consistency_proof(leaves, old)
            assert goes_on(root_of(leaves[:old]), old, root_of(leaves), size, proof)
            assert not goes_on(leaf_hash(b"other"), old, root_of(leaves), size, proof)
            assert not goes_on(root_of(leaves[:old]), old, leaf_hash(b"other"), size, proof)
            assert not goes_on(root_of(leaves[:old]), old, root_of(leaves), size, [*proof, leaves[0]])
        assert goes_on(EMPTY_ROOT, 0, root_of(leaves), size, [])
        assert not goes_on(root_of(leaves), size + 1, root_of(leaves), size, [])
    assert not goes_on(root_of(numbered(3)), 3, root_of(numbered(7)), 7, [])
    assert not goes_on(root_of(numbered(1)), -1, root_of(numbered(7)), 7, [])


@given(st.lists(st.binary(max_size=4), max_size=70), st.integers(0, 70))
def test_a_frontier_goes_on_where_it_was_left(data: list[bytes], at: int) -> None:
    """A tree that is kept as its frontier grows to the same root, with no more than log n hashes kept."""
    leaves = [leaf_hash(one) for one in data]
    begun = Frontier()
    for leaf in leaves[:at]:
        begun.push(leaf)
    later = Frontier(begun.size, begun.nodes)
    for leaf in leaves[at:]:
        later.push(leaf)
    assert (later.root(), later.size) == (root_of(leaves), len(leaves))
    assert len(later.nodes) == len(leaves).bit_count()
    begun.extend(leaves[at:])  # all at once
    assert (begun.size, begun.nodes) == (later.size, later.nodes)


@pytest.mark.parametrize(("size", "nodes"), [(-1, 0), (3, 1), (0, 1)])
def test_a_frontier_of_another_size_is_refused(size: int, nodes: int) -> None:
    """A frontier that does not fit its size is no tree's."""
    with pytest.raises(ValueError, match="whole subtrees"):
        Frontier(size, [node_hash(b"", b"")] * nodes)


@pytest.mark.parametrize("wrong", [-1, 3, 4])
def test_what_is_not_there_is_not_proven(wrong: int) -> None:
    """There is no proof for a leaf that is not in the tree, nor of growth from a larger tree."""
    with pytest.raises(ValueError, match="not in a tree"):
        inclusion_proof(numbered(3), wrong)
    with pytest.raises(ValueError, match="not from"):
        consistency_proof(numbered(2), wrong)
