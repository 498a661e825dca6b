"""Arrays in files that nobody vouches for: nothing is unpickled, and sizes are checked before memory is taken."""

from nonlazy.array_files.numpy_files import npy_arrays, npz_arrays, read_npz
from nonlazy.array_files.stored import MOST_LISTED, StoredArray, choose, listing

__all__ = ["MOST_LISTED", "StoredArray", "choose", "listing", "npy_arrays", "npz_arrays", "read_npz"]
