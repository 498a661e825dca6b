"""The official CIFAR-10 batches: pickles, read without running what they hold."""

from __future__ import annotations

import pickle
import struct
import tracemalloc

import numpy as np
import pytest
from image_files import LABELS, PIXELS, Bomb, images, rows
from shared_images import CIFAR10, needs_cifar10

from nonlazy.errors import FileError, InputError
from nonlazy.tasks import cifar10
from nonlazy.tasks.cifar_batches import TEST_BATCH, TRAINING_BATCHES


class Python2Pickler(pickle._Pickler):
    """Writes pickles as Python 2 wrote the official batches: byte strings, integer flags of dtypes."""

    def save_string(self, value):
        raw = value if isinstance(value, bytes) else value.encode()
        self.write(pickle.BINSTRING + struct.pack("<i", len(raw)) + raw)
        self.memoize(value)

    dispatch = pickle._Pickler.dispatch | {bytes: save_string, str: save_string}

    def reducer_override(self, value):
        if isinstance(value, np.dtype):
            return np.dtype, (value.str[1:], 0, 1), value.__reduce__()[2]
        return NotImplemented


def write_python2(path, content):
    with path.open("wb") as file:
        Python2Pickler(file, protocol=2).dump(content)
    path.write_bytes(path.read_bytes().replace(b"numpy._core.multiarray", b"numpy.core.multiarray"))


def write_python3(path, content):
    path.write_bytes(pickle.dumps(content, protocol=4))


def batch_folder(folder, write=write_python2):
    folder.mkdir()
    for k, name in enumerate((*TRAINING_BATCHES, TEST_BATCH)):
        pixels, labels = images(2, seed=k, shape=(3072,))
        write(folder / name, {b"batch_label": name.encode(), b"data": pixels, b"labels": labels.tolist()})
    return folder


@pytest.mark.parametrize("write", [write_python2, write_python3])
@pytest.mark.filterwarnings("error")
def test_official_batches(tmp_path, write):
    folder = batch_folder(tmp_path / "cifar-10-batches-py", write)
    task = cifar10(n_train=30, n_test=6, source=folder, normalize=False)
    stored = np.concatenate([images(2, seed=k, shape=(3072,))[0] for k in range(6)]).astype(float)
    assert task.class_names == ("airplane", "automobile", "bird")
    assert rows(np.round(task.inputs * 255)) == rows(stored[:30])
    assert rows(np.round(task.test_inputs * 255)) == rows(stored[30:])
    np.testing.assert_allclose(task.inputs[:, 0] * 255, task.labels, atol=1e-12)


def test_python2_batches_are_faithful(tmp_path):
    write_python2(tmp_path / "batch", {b"data": PIXELS})
    raw = (tmp_path / "batch").read_bytes()
    assert b"cnumpy.core.multiarray\n_reconstruct" in raw
    assert pickle.BINSTRING + struct.pack("<i", 2) + b"u1" in raw


@pytest.mark.parametrize("where", ["alone", "as labels", "inside an array"])
@pytest.mark.parametrize("protocol", [0, 2, 4, 5])
def test_malicious_batch_is_refused(tmp_path, where, protocol):
    folder = batch_folder(tmp_path / "cifar-10-batches-py")
    bomb = Bomb(tmp_path / "ran")
    content = {
        "alone": bomb,
        "as labels": {b"data": PIXELS, b"labels": bomb},
        "inside an array": {b"data": np.array([bomb], dtype=object), b"labels": [0]},
    }[where]
    (folder / "data_batch_3").write_bytes(pickle.dumps(content, protocol=protocol))
    with pytest.raises(InputError, match="data_batch_3 is not a CIFAR-10 batch that can be trusted"):
        cifar10(source=folder)
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize(
    "code", [b"cos\nsystem\n(S'exit 1'\ntR.", b"cbuiltins\neval\n(S'1/0'\ntR.", b"cnumpy\nload\n(S'x'\ntR."]
)
def test_functions_are_refused(tmp_path, code):
    folder = batch_folder(tmp_path / "cifar-10-batches-py")
    (folder / TEST_BATCH).write_bytes(code)
    with pytest.raises(InputError, match=r"it asks for .*, which is not an array"):
        cifar10(source=folder)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ([1, 2], "must hold a dictionary with the entry 'data'"),
        ({b"data": PIXELS}, "must hold a dictionary with the entry 'labels'"),
        ({b"data": PIXELS, b"labels": LABELS.tolist()}, r"must hold data \(n, 3072\)"),
        ({b"data": np.zeros((2, 3072), np.uint8), b"labels": [1]}, r"must hold data \(n, 3072\)"),
        (
            {b"data": np.zeros((2, 3072), np.uint8), b"labels": 1},
            "must hold 'labels' as an array or a list of integers",
        ),
        ({b"data": [[0] * 3072], b"labels": [1]}, "must hold 'data' as an array or a list of integers, got list"),
        ({b"data": np.zeros((1, 3072)), b"labels": [1]}, "of float64"),
        ({b"data": np.array([None]), b"labels": [1]}, "it holds an array of object, not of numbers"),
    ],
)
def test_batches_with_other_content(tmp_path, content, message):
    folder = batch_folder(tmp_path / "cifar-10-batches-py")
    write_python3(folder / "data_batch_1", content)
    with pytest.raises(InputError, match=message):
        cifar10(source=folder)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"\x80\x02}r\x00\x00\x00\x7f.", "it asks for room for 2130706432 objects"),
        (b"}p4000000000\n.", "it asks for room for 4000000000 objects"),
        (b"\x80\x05\x96" + struct.pack("<Q", 2**40) + b".", "expected 1099511627776 bytes"),
        (b"cnumpy\nndarray\n((I1000000000000\nttR.", "not callable"),
        (
            b"cnumpy.core.multiarray\n_reconstruct\n(cnumpy\nndarray\n(I1000000000000\ntS'b'\ntR.",
            "must hold a dictionary with the entry 'data'",
        ),
    ],
)
def test_no_memory_is_reserved_for_what_is_not_there(tmp_path, content, message):
    folder = batch_folder(tmp_path / "cifar-10-batches-py")
    (folder / TEST_BATCH).write_bytes(content)
    tracemalloc.start()
    try:
        with pytest.raises(InputError, match=message):
            cifar10(source=folder)
        assert tracemalloc.get_traced_memory()[1] < 50e6
    finally:
        tracemalloc.stop()


def test_batches_cut_short_and_missing(tmp_path):
    folder = batch_folder(tmp_path / "cifar-10-batches-py")
    whole = (folder / "data_batch_2").read_bytes()
    (folder / "data_batch_2").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(InputError, match="data_batch_2 is not a CIFAR-10 batch"):
        cifar10(source=folder)
    (folder / "data_batch_2").unlink()
    with pytest.raises(FileError, match="holds no file data_batch_2"):
        cifar10(source=folder)


@needs_cifar10
def test_shared_cifar_images():
    task = cifar10(n_train=90, n_test=300, source=CIFAR10)
    stored = np.load(CIFAR10)
    assert task.class_names == ("airplane", "automobile", "bird")
    assert task.inputs.shape == (90, 3072)
    scale = task.inputs.max() / np.round(task.inputs.max() / task.inputs[task.inputs > 0].min())
    pixels = rows(np.round(task.test_inputs / scale).astype(np.uint8))
    assert pixels <= rows(stored["test_images"].reshape(-1, 3072))
