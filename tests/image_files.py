"""Small images for the loaders of several test files."""

from __future__ import annotations

from pathlib import Path

import numpy as np


def rows(array):
    return {row.tobytes() for row in array}


def archive(path, **arrays):
    np.savez(path, **arrays)
    return path


def images(n_per_class, n_classes=3, seed=0, shape=(4, 4)):
    """Distinct byte images whose first pixel is the class number."""
    labels = np.tile(np.arange(n_classes), n_per_class)
    pixels = np.random.default_rng(seed).integers(0, 255, (len(labels), *shape), dtype=np.uint8)
    pixels.reshape(len(labels), -1)[:, 0] = labels
    return pixels, labels


PIXELS, LABELS = images(4)


class Bomb:
    """Creates a file when it is unpickled without care."""

    def __init__(self, target):
        self.target = target

    def __reduce__(self):
        return Path.touch, (self.target,)
