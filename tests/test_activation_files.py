"""Activations from files: what was written is read, and what cannot be is named before it is read."""

from __future__ import annotations

import io
import zipfile

import h5py
import numpy as np
import pandas as pd
import pytest
from scipy.special import ndtr

import nonlazy as nl
from nonlazy.activation_files import read

ACTIVATIONS = np.random.default_rng(0).standard_normal((6, 4))
LABELS = np.array(["cat", "dog", "dog", "cat", "cat", "dog"])


def check(recording):
    np.testing.assert_array_equal(recording.activations, ACTIVATIONS)
    np.testing.assert_array_equal(recording.labels, LABELS)


def test_npz(tmp_path):
    np.savez(tmp_path / "a.npz", activations=ACTIVATIONS, labels=LABELS)
    np.savez_compressed(tmp_path / "b.npz", **{"layer1/x": ACTIVATIONS, "y": LABELS.astype("S")})
    check(*read(tmp_path / "a.npz"))
    check(*read(tmp_path / "b.npz", "layer1/x", "y"))


def test_npy_pair_is_mapped_and_not_read(tmp_path):
    np.save(tmp_path / "a.npy", ACTIVATIONS)
    np.save(tmp_path / "labels.npy", LABELS)
    (found,) = read(tmp_path / "a.npy", labels=str(tmp_path / "labels.npy"))
    check(found)
    assert isinstance(found.activations, np.memmap)
    assert not found.activations.flags.writeable


def test_labels_in_a_file_of_their_own(tmp_path):
    np.savez(tmp_path / "a.npz", activations=ACTIVATIONS)
    np.save(tmp_path / "b.npy", LABELS)
    check(*read(tmp_path / "a.npz", labels=str(tmp_path / "b.npy")))


def test_inputs_beside_or_in_a_file_of_their_own(tmp_path):
    inputs = np.arange(18.0).reshape(6, 3)
    np.savez(tmp_path / "a.npz", activations=ACTIVATIONS, labels=LABELS, images=inputs)
    np.save(tmp_path / "x.npy", inputs)
    for name in ("images", str(tmp_path / "x.npy")):
        (found,) = read(tmp_path / "a.npz", inputs=name)
        check(found)
        np.testing.assert_array_equal(found.inputs, inputs)
    with pytest.raises(nl.InputError, match="choose with --inputs"):
        read(tmp_path / "a.npz", inputs="pictures")
    assert read(tmp_path / "a.npz")[0].inputs is None


@pytest.mark.parametrize("suffix", [".h5", ".HDF5"])
def test_hdf5_maps_what_lies_in_one_block(tmp_path, suffix):
    file = tmp_path / f"a{suffix}"
    with h5py.File(file, "w") as written:
        written["labels"] = LABELS.astype(object)
        written["block"] = ACTIVATIONS
        written.create_dataset("group/pieces", data=ACTIVATIONS, chunks=(2, 2), compression="gzip")
        written.create_dataset("big_endian", data=ACTIVATIONS.astype(">f8"))
        written["fixed"] = LABELS.astype("S")
    (mapped,) = read(file, "block")
    check(mapped)
    assert isinstance(mapped.activations, np.memmap)
    check(*read(file, "group/pieces", "fixed"))
    check(*read(file, "big_endian"))


def test_hdf5_with_a_user_block(tmp_path):
    """As MATLAB writes: the offsets of blocks count from behind it."""
    with h5py.File(tmp_path / "a.h5", "w", userblock_size=512) as written:
        written["activations"], written["labels"] = ACTIVATIONS, LABELS.astype("S")
    check(*read(tmp_path / "a.h5"))


def test_csv(tmp_path):
    table = pd.DataFrame(ACTIVATIONS, columns=list("abcd"))
    table.insert(2, "animal", LABELS)
    table.to_csv(tmp_path / "a.csv", index=False)
    check(*read(tmp_path / "a.csv", labels="animal"))
    table["animal"] = [0, 1, 1, 0, 0, 1]
    table.to_csv(tmp_path / "a.csv", index=False)
    assert read(tmp_path / "a.csv", labels="animal")[0].labels.tolist() == [0, 1, 1, 0, 0, 1]


def test_run_gives_the_layers_of_the_last_draw(tree, tmp_path):
    nl.save(tree, tmp_path / "samples.nc")
    preactivations = tree["last_draw"]["preactivations"].values
    for chain, name in ((0, None), (2, "chain 3 layer 1")):
        (found,) = read(tmp_path / "samples.nc", name)
        assert found.name == f"chain {chain + 1} layer 1"
        # The error function of the sigmoidal network is the Gaussian distribution function at sqrt(pi / 2) z.
        np.testing.assert_allclose(found.activations, ndtr(np.sqrt(np.pi / 2) * preactivations[chain, 0].T), atol=1e-15)
        np.testing.assert_array_equal(found.labels, tree["constant_data"]["labels"])
        assert found.class_names.tolist() == ["0", "1", "2"]
    with pytest.raises(nl.InputError, match=r"no 'layer 1' .* it holds chain 1 layer 1, chain 2 layer 1, chain 3"):
        read(tmp_path / "samples.nc", "layer 1")


def npz_with(tmp_path, **arrays):
    np.savez(tmp_path / "a.npz", **arrays)
    return tmp_path / "a.npz"


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        (
            {"x": ACTIVATIONS, "y": LABELS},
            r"no 'activations' \(choose with --activations\); it holds 'x' \(6, 4\) of float64",
        ),
        ({"activations": ACTIVATIONS}, r"no 'labels' \(choose with --labels\)"),
        ({"activations": ACTIVATIONS, "labels": LABELS.astype(object)}, "Python objects, .* they could run code"),
        ({"activations": ACTIVATIONS[None], "labels": LABELS}, r"shape \(n_inputs, n_neurons\), got \(1, 6, 4\)"),
        ({"activations": ACTIVATIONS, "labels": LABELS[:5]}, r"each of the 6 inputs, got shape \(5,\)\.$"),
        ({"activations": ACTIVATIONS.T, "labels": LABELS}, "are the activations transposed"),
        ({f"x{i}": LABELS for i in range(20)}, "8 more"),
    ],
)
def test_npz_that_cannot_be_used(tmp_path, arrays, message):
    with pytest.raises(nl.NonlazyError, match=message):
        read(npz_with(tmp_path, **arrays))


def header(shape):
    stream = io.BytesIO()
    np.lib.format.write_array_header_1_0(stream, {"descr": "<f8", "fortran_order": False, "shape": shape})
    return stream.getvalue()


def test_sizes_are_checked_before_memory_is_taken(tmp_path, monkeypatch):
    """A header may claim any size."""
    with zipfile.ZipFile(tmp_path / "a.npz", "w") as archive:
        archive.writestr("activations.npy", header((10**12, 10**6)))
        archive.writestr("few.npy", header((6, 4)) + bytes(8))
    with pytest.raises(nl.FileError, match="GiB and this machine has"):
        read(tmp_path / "a.npz")
    np.save(tmp_path / "labels.npy", LABELS)
    with pytest.raises(nl.FileError, match=r"'few' in .* is damaged"):
        read(tmp_path / "a.npz", "few", str(tmp_path / "labels.npy"))
    (tmp_path / "a.npy").write_bytes(header((6, 4)) + bytes(8))
    with pytest.raises(nl.FileError, match="is damaged"):
        read(tmp_path / "a.npy", labels=str(tmp_path / "labels.npy"))
    with h5py.File(tmp_path / "a.h5", "w") as written:
        written.create_dataset("activations", shape=(10**9, 10**6), dtype="f8", chunks=(10, 10))
    with pytest.raises(nl.FileError, match="GiB and this machine has"):
        read(tmp_path / "a.h5")
    (tmp_path / "a.csv").write_text("labels,a\n0,1\n")
    monkeypatch.setattr("nonlazy.memory.of_machine", lambda: 10.0)
    with pytest.raises(nl.FileError, match="may not fit into memory"):
        read(tmp_path / "a.csv")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("labels,a,b,c\n0,1,x,1\n1,2,y,2\n", "other columns are 'b'"),
        ("class,a\n0,1\n", r"no column 'labels' \(choose with --labels\); its columns are 'class', 'a'"),
        (",labels,a\n0,0,1\n", "write the file with index=False"),
        ("labels,a\ncat,1\n,2\n", "a label in each row, got none in row 2"),
        ("", "no table that can be read: No columns"),
        ("labels,a\n0,1\n0,1,2,3\n", "no table that can be read"),
    ],
)
def test_csv_that_cannot_be_used(tmp_path, text, message):
    (tmp_path / "a.csv").write_text(text)
    with pytest.raises(nl.NonlazyError, match=message):
        read(tmp_path / "a.csv")


@pytest.mark.parametrize("suffix", [".npz", ".npy", ".h5", ".nc", ".csv"])
def test_bytes_of_another_kind(tmp_path, suffix):
    file = tmp_path / f"a{suffix}"
    file.write_bytes(b"\x93NUMPY\x01\x00\xff\xffno such thing")
    labels = {"labels": str(file)} if suffix == ".npy" else {}
    with pytest.raises(nl.FileError, match=r"a\..* is no "):
        read(file, **labels)


def test_files_that_are_not_there_or_of_no_known_type(tmp_path):
    np.save(tmp_path / "a.npy", ACTIVATIONS)
    (tmp_path / "a.pt").write_bytes(b"")
    (tmp_path / "a.csv").write_text("a,b\n")
    (tmp_path / "a.nc").write_bytes(b"")
    for name, options, message in (
        ("b.npz", {}, "does not exist"),
        ("a.pt", {}, r"must be a file of type \.npz, \.h5"),
        ("a.npy", {}, r"give the labels as --labels FILE\.npy"),
        ("a.npy", {"labels": "nowhere.npy"}, "nowhere.npy does not exist"),
        ("a.csv", {"activations": "a"}, "leave --activations out"),
        ("a.nc", {"labels": "a"}, "leave --labels out"),
    ):
        with pytest.raises(nl.NonlazyError, match=message):
            read(tmp_path / name, **options)
