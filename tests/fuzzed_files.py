"""Valid files of the kinds that the library reads, ways to damage them, and the only outcomes allowed."""

from __future__ import annotations

import pickle
import signal
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np

import nonlazy as nl
from nonlazy import config
from nonlazy.activation_files import read
from nonlazy.config import FileTask
from nonlazy.sampling.checkpoint import Checkpoint
from nonlazy.tasks.cifar_batches import N_PIXELS, TEST_BATCH, TRAINING_BATCHES

SECONDS = 20
ACTIVATIONS = np.random.default_rng(0).standard_normal((6, 4))
LABELS = np.array([0, 1, 1, 0, 0, 1])
TOML = """
title = "fuzzed"
temperature = 1e-4
[task]
name = "gaussian"
n_inputs = 12
class_ratios = [0.5, 0.25, 0.25]
n_features = 16
[model]
depth = 2
activation = "relu"
weight_std = [1.0, 0.5]
[sampling]
chains = 2
keep = ["readout", "kernels"]
"""


class TooLong(BaseException):
    """No `Exception`: readers turn these into errors of their own."""


class Reader(NamedTuple):
    """How to write a valid file, and what reads it."""

    file: str
    write: Callable[[Path], object]
    read: Callable[[Path], object]


def _npz(path: Path) -> None:
    np.savez_compressed(path, activations=ACTIVATIONS, labels=LABELS)


def _csv(path: Path) -> None:
    rows = [",".join([str(label), *map(str, row)]) for label, row in zip(LABELS, ACTIVATIONS.round(3), strict=True)]
    path.write_text("\n".join(["labels,a,b,c,d", *rows]) + "\n")


def _npy(path: Path) -> None:
    np.save(path, ACTIVATIONS)
    np.save(path.with_name("other.npy"), LABELS)


def _images(path: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 255, (12, 4, 4), dtype=np.uint8)
    np.savez(path, images=pixels, labels=np.tile(np.arange(3), 4))


def _batches(path: Path) -> None:
    batch = {b"data": np.random.default_rng(0).integers(0, 255, (3, N_PIXELS), dtype=np.uint8), b"labels": [0, 1, 2]}
    for i, name in enumerate((*TRAINING_BATCHES, TEST_BATCH)):
        batch[b"data"][:, 0] = i
        path.with_name(name).write_bytes(pickle.dumps(batch, protocol=3))


CONFIGURATION = {"seed": 0}
CHAINS = (np.zeros((2, 3), np.float32), np.zeros(2, np.float32))


def _state(path: Path) -> None:
    with Checkpoint(path.parent, CONFIGURATION) as checkpoint:
        checkpoint.save(CHAINS, 0, {"lp": np.zeros((1, 2))})  # type: ignore[arg-type]


def _load_checkpoint(path: Path) -> None:
    with Checkpoint(path.parent, CONFIGURATION) as checkpoint:
        checkpoint.load(CHAINS)  # type: ignore[arg-type]


def readers() -> dict[str, Reader]:
    """Readers of files by name; not of HDF5, whose library can take minutes over a damaged file, out of reach of Python."""
    return {
        "configuration": Reader("a.toml", lambda p: p.write_text(TOML), lambda p: config.parse(config.read(p), p.name)),
        "data": Reader(
            "a.npz",
            lambda p: np.savez(p, inputs=ACTIVATIONS, labels=LABELS),
            lambda p: FileTask(name="file", path=p).load(),
        ),
        "npz": Reader("a.npz", _npz, read),
        "npy": Reader("a.npy", _npy, lambda p: read(p, labels=str(p.with_name("other.npy")))),
        "csv": Reader("a.csv", _csv, read),
        "images": Reader(
            "a.npz", _images, lambda p: nl.tasks.mnist(classes=(0, 1, 2), n_train=6, n_test=3, source=str(p))
        ),
        "image batches": Reader(
            "data_batch_2",
            _batches,
            lambda p: nl.tasks.cifar10(classes=(0, 1, 2), n_train=6, n_test=3, source=str(p.parent)),
        ),
        "checkpoint": Reader("state.npz", _state, _load_checkpoint),
        "configuration of a checkpoint": Reader("configuration.json", _state, _load_checkpoint),
    }


def damaged(rng: np.random.Generator, content: bytes) -> bytes:
    """The file after one to four random changes of the kinds that disks, transfers and enemies make."""
    data = bytearray(content)
    for _ in range(rng.integers(1, 5)):
        at, length = int(rng.integers(len(data) + 1)), int(2 ** rng.uniform(0, 8))
        match rng.integers(7):
            case 0:  # other bytes
                data[at : at + length] = rng.bytes(len(data[at : at + length]))
            case 1:  # one other bit
                if at < len(data):
                    data[at] ^= 1 << int(rng.integers(8))
            case 2:  # cut off
                del data[at:]
            case 3:  # something lost
                del data[at : at + length]
            case 4:  # something twice
                data[at:at] = data[max(at - length, 0) : at]
            case 5:  # extreme numbers
                data[at : at + 8] = [b"\xff" * 8, b"\x00" * 8, b"\x7f" + b"\xff" * 7, b"99999999"][rng.integers(4)]
            case 6:  # a piece from elsewhere
                origin = int(rng.integers(len(data) + 1))
                data[at : at + length] = data[origin : origin + length]
    return bytes(data)


def try_to_read(reader: Reader, path: Path, content: bytes) -> bool:
    """Whether the reader took the file; anything but success and one clear error within `SECONDS` is raised."""

    def too_long(*_: object) -> None:
        raise TooLong(f"no answer within {SECONDS} s")

    path.write_bytes(content)
    previous = signal.signal(signal.SIGALRM, too_long)
    signal.alarm(SECONDS)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", nl.DataWarning)
            reader.read(path)
    except nl.NonlazyError as error:
        if not 10 < len(str(error)) < 2000:
            raise AssertionError(f"a message of {len(str(error))} characters") from error
        return False
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, previous)
    return True
