"""A tree of free capacity: finds the first of many bins that fits, without walking past those that are full. Pure.

A segment tree: the bins are its leaves, in the order of preference, and each inner node has the largest
free amount below it of each resource. So a search costs about the logarithm of the number of bins, and a
bin that became full costs nothing more.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

#: Amounts that are asked, as pairs of the position in the vector of amounts and the amount.
Needs = Sequence[tuple[int, int]]


class CapacityTree:
    """Free amounts of bins, in a fixed order.

    Parameters
    ----------
    amounts : iterable of sequence of int
        The free amounts of each bin; all vectors have the same length.
    least : sequence of int
        The least that anybody will ask of each resource. A bin with less of one counts as full: its other
        amounts would only lengthen searches.
    """

    def __init__(self, amounts: Iterable[Sequence[int]], least: Sequence[int]) -> None:
        self._least = least
        self._full = [-1] * len(least)
        columns = [list(column) for column in zip(*map(self._shown, amounts), strict=True)]
        count = len(columns[0]) if columns else 0
        self._size = size = 1 << max(0, count - 1).bit_length()
        self._trees: list[list[int]] = []
        for column in columns:
            tree = [-1] * size + column + [-1] * (size - count)
            for node in range(size - 1, 0, -1):
                left, right = tree[2 * node], tree[2 * node + 1]
                tree[node] = left if left > right else right
            self._trees.append(tree)

    def first(self, start: int, needs: Needs) -> int:
        """Return the first bin from `start` on that has all of `needs`, or -1."""
        trees = [(self._trees[position], amount) for position, amount in needs] if self._trees else []
        size = self._size
        if not trees or start >= size:
            return -1
        node = start + size
        while True:
            for tree, amount in trees:
                if tree[node] < amount:
                    break
            else:
                if node >= size:
                    return node - size
                node *= 2
                continue
            while node & 1:  # the last child of its parent: nothing more below that one
                node >>= 1
            if not node:
                return -1
            node += 1

    def update(self, bin_: int, amounts: Sequence[int]) -> None:
        """Set the free amounts of a bin."""
        for tree, amount in zip(self._trees, self._shown(amounts), strict=True):
            node = bin_ + self._size
            if tree[node] == amount:
                continue
            tree[node] = amount
            node >>= 1
            while node:
                left, right = tree[2 * node], tree[2 * node + 1]
                largest = left if left > right else right
                if tree[node] == largest:
                    break
                tree[node] = largest
                node >>= 1

    def close(self, bin_: int) -> None:
        """Have a bin no longer found, until `update`."""
        self.update(bin_, self._full)

    def _shown(self, amounts: Sequence[int]) -> Sequence[int]:
        for amount, least in zip(amounts, self._least, strict=True):
            if amount < least:
                return self._full
        return amounts
