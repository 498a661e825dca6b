"""Conjugate kernels as a vector of what the symmetries of the data leave free."""

from __future__ import annotations

from itertools import combinations

import numpy as np
from jaxtyping import Float

from nonlazy.theory.symmetric.data import SymmetricData, SymmetricKernel


class Coordinates:
    """Conjugates as one vector: an entry for each set of classes, or pairs of them, that the data do not tell apart.

    Exchanging two classes of equal size whose targets enter Y Y^T alike is a symmetry, since the readout prior is isotropic.
    """

    def __init__(self, data: SymmetricData) -> None:
        self.n_classes = len(data.counts)
        gram = data.targets @ data.targets.T
        self.permutations = [
            swap
            for a, b in combinations(range(self.n_classes), 2)
            if _invariant(swap := _exchange(self.n_classes, a, b), data.counts, data.kernel, gram)
        ]
        self.block_orbits = self._orbits([(a, b) for a in range(self.n_classes) for b in range(self.n_classes)])
        self.class_orbits = self._orbits([(a,) for a in range(self.n_classes)])
        # In these units the sums over inputs, which the blocks multiply, have fluctuations of order one.
        sizes = np.sqrt(np.outer(data.counts, data.counts))
        self.units = np.array([1 / sizes[orbit[0]] for orbit in self.block_orbits] + [1.0] * len(self.class_orbits))

    def _orbits(self, items: list[tuple[int, ...]]) -> list[list[tuple[int, ...]]]:
        left, orbits = set(items), []
        while left:
            orbit = {min(left)}
            while True:
                grown = orbit | {tuple(p[list(i)]) for p in self.permutations for i in orbit} | {i[::-1] for i in orbit}
                if grown == orbit:
                    break
                orbit = grown
            orbits.append(sorted(orbit))
            left -= orbit
        return orbits

    def pack(self, conjugates: tuple[SymmetricKernel, ...]) -> Float[np.ndarray, " x"]:
        rows = []
        for kernel in conjugates:
            row = [np.mean([kernel.blocks[i] for i in orbit]) for orbit in self.block_orbits]
            rows.append(
                np.array(row + [np.mean([kernel.excess[i] for i in orbit]) for orbit in self.class_orbits]) / self.units
            )
        return np.concatenate(rows)

    def unpack(self, x: Float[np.ndarray, " x"]) -> tuple[SymmetricKernel, ...]:
        found = []
        for row in x.reshape(-1, len(self.units)) * self.units:
            blocks, excess = np.empty((self.n_classes,) * 2), np.empty(self.n_classes)
            for value, orbit in zip(row, self.block_orbits + self.class_orbits, strict=True):
                for i in orbit:
                    (blocks if len(i) == 2 else excess)[i] = value
            found.append(SymmetricKernel(blocks, excess))
        return tuple(found)


def _exchange(n: int, a: int, b: int) -> np.ndarray:
    order = np.arange(n)
    order[[a, b]] = b, a
    return order


def _invariant(order: np.ndarray, counts: np.ndarray, kernel: SymmetricKernel, gram: np.ndarray) -> bool:
    same = (np.allclose(m[np.ix_(order, order)], m, rtol=1e-9, atol=1e-12) for m in (kernel.blocks, gram))
    return all(same) and np.array_equal(counts[order], counts) and np.allclose(kernel.excess[order], kernel.excess)
