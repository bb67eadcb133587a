"""The Merkle tree of RFC 6962: a root of leaves, a leaf that is shown to be in it, a root that goes on. Pure.

A `Frontier` is all of a tree that its growth needs: the roots of its whole subtrees, log n of them. Proofs are made of
the leaves' hashes, and are checked as RFC 9162 says in 2.1.3.2 and 2.1.4.2.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from hashlib import sha256
from typing import Final

HASH_BYTES: Final = 32
EMPTY_ROOT: Final = sha256(b"").digest()


def leaf_hash(data: bytes) -> bytes:
    """Return the hash of a leaf."""
    return sha256(b"\x00" + data).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    """Return the hash of a node over two."""
    return sha256(b"\x01" + left + right).digest()


class Frontier:
    """A tree that grows. `size` is how many leaves it has, `nodes` the roots of its whole subtrees, the largest first.

    Raises:
        ValueError: there are other than so many nodes in a tree of this size.
    """

    def __init__(self, size: int = 0, nodes: Iterable[bytes] = ()) -> None:
        self.size = size
        self.nodes = list(nodes)
        if size < 0 or len(self.nodes) != size.bit_count():
            raise ValueError(f"a tree of {size} leaves has {max(0, size).bit_count()} whole subtrees")

    def push(self, leaf: bytes) -> None:
        """Add a leaf by its hash."""
        self._add(leaf, 0)

    def extend(self, leaves: Sequence[bytes]) -> None:
        """Add leaves by their hashes; as `push` of each, in less time."""
        at = 0
        while at < len(leaves):
            fits = (len(leaves) - at).bit_length() - 1
            height = min(fits, (self.size & -self.size).bit_length() - 1) if self.size else fits
            nodes = leaves[at : at + (1 << height)]
            at += len(nodes)
            while len(nodes) > 1:
                pairs = iter(nodes)
                nodes = [sha256(b"\x01" + left + right).digest() for left, right in zip(pairs, pairs, strict=True)]
            self._add(nodes[0], height)

    def _add(self, node: bytes, height: int) -> None:
        """Add a whole subtree of 2 ** height leaves, of which the tree has a multiple."""
        nodes, size = self.nodes, self.size >> height
        while size & 1:
            node = sha256(b"\x01" + nodes.pop() + node).digest()
            size >>= 1
        nodes.append(node)
        self.size += 1 << height

    def root(self) -> bytes:
        """Return the root of what was added by now."""
        if not self.nodes:
            return EMPTY_ROOT
        root = self.nodes[-1]
        for node in reversed(self.nodes[:-1]):
            root = node_hash(node, root)
        return root


def root_of(leaves: Iterable[bytes]) -> bytes:
    """Return the root of leaves given by their hashes."""
    frontier = Frontier()
    for leaf in leaves:
        frontier.push(leaf)
    return frontier.root()


def inclusion_proof(leaves: Sequence[bytes], index: int) -> list[bytes]:
    """Return what shows that the leaf of an index is in the tree of these, from the leaf up.

    Raises:
        ValueError: there is no leaf of this index.
    """
    if not 0 <= index < len(leaves):
        raise ValueError(f"leaf {index} is not in a tree of {len(leaves)}")
    proof: list[bytes] = []
    first, last = 0, len(leaves)
    while last - first > 1:
        middle = first + _largest_power_below(last - first)
        if index < middle:
            proof.append(root_of(leaves[middle:last]))
            last = middle
        else:
            proof.append(root_of(leaves[first:middle]))
            first = middle
    return proof[::-1]


def consistency_proof(leaves: Sequence[bytes], size: int) -> list[bytes]:
    """Return what shows that the tree of these goes on from that of the first `size` of them.

    Raises:
        ValueError: that is none, or more than there are.
    """
    if not 0 < size <= len(leaves):
        raise ValueError(f"a tree of {len(leaves)} leaves goes on from 1 to as many, not from {size}")
    proof: list[bytes] = []
    first, last, whole = 0, len(leaves), True
    while size != last - first:
        middle = first + _largest_power_below(last - first)
        if size <= middle - first:
            proof.append(root_of(leaves[middle:last]))
            last = middle
        else:
            proof.append(root_of(leaves[first:middle]))
            size, first, whole = size - (middle - first), middle, False
    if not whole:
        proof.append(root_of(leaves[first:last]))
    return proof[::-1]


def includes(root: bytes, size: int, leaf: bytes, index: int, proof: Sequence[bytes]) -> bool:
    """Tell whether a proof shows that a leaf is in the tree of this root, at this index."""
    if not 0 <= index < size:
        return False
    place, last, node = index, size - 1, leaf
    for other in proof:
        if last == 0:
            return False
        if place & 1 or place == last:
            node = node_hash(other, node)
            while not place & 1 and place:
                place, last = place >> 1, last >> 1
        else:
            node = node_hash(node, other)
        place, last = place >> 1, last >> 1
    return last == 0 and node == root


def goes_on(old_root: bytes, old_size: int, root: bytes, size: int, proof: Sequence[bytes]) -> bool:
    """Tell whether a proof shows that one tree goes on from another; from an empty one each does."""
    if old_size > size or old_size < 0:
        return False
    if old_size in (0, size):
        return not proof and old_root == (EMPTY_ROOT if old_size == 0 else root)
    path = [old_root, *proof] if old_size & (old_size - 1) == 0 else list(proof)
    if not path:
        return False
    place, last = old_size - 1, size - 1
    while place & 1:
        place, last = place >> 1, last >> 1
    old = new = path[0]
    for other in path[1:]:
        if last == 0:
            return False
        if place & 1 or place == last:
            old, new = node_hash(other, old), node_hash(other, new)
            while not place & 1 and place:
                place, last = place >> 1, last >> 1
        else:
            new = node_hash(new, other)
        place, last = place >> 1, last >> 1
    return last == 0 and old == old_root and new == root


def _largest_power_below(count: int) -> int:
    """Return the largest power of two that is smaller than a count of two or more."""
    return 1 << ((count - 1).bit_length() - 1)
