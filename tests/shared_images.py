"""Images of CIFAR-10 that lie only beside the development checkout: they may not be part of the project.

The same code is tested everywhere on made-up files of the same format (`image_files.py`).
"""

from __future__ import annotations

from pathlib import Path

import pytest

CIFAR10 = Path(__file__).parents[2] / "shared" / "data" / "cifar10_3classes.npz"
needs_cifar10 = pytest.mark.skipif(
    not CIFAR10.is_file(), reason=f"needs the images in {CIFAR10.parent}, which lie beside the development checkout"
)
