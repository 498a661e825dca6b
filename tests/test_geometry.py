"""Geometry of kernels against the same measures computed from activations, and against representations known in advance."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from sklearn.neighbors import NearestCentroid

import nonlazy as nl

COUNTS = (7, 4, 9, 5)


@pytest.fixture(params=[3, 12, 60], ids=lambda n: f"{n} neurons")
def recording(request):
    rng = np.random.default_rng(request.param)
    labels = rng.permutation(np.repeat(["a", "b", "c", "d"], COUNTS))
    means = {name: rng.standard_normal(request.param) for name in "abcd"}
    return np.stack([means[x] for x in labels]) + 0.8 * rng.standard_normal((len(labels), request.param)) + 2, labels


def direct(activations, labels):
    """The definitions, in the space of neurons."""
    classes = np.unique(labels)
    means = np.stack([activations[labels == c].mean(axis=0) for c in classes])
    covariances = [np.cov(activations[labels == c].T, ddof=0) for c in classes]
    m = means - means.mean(axis=0)
    between = m.T @ m / len(classes)
    norms = np.linalg.norm(m, axis=1)
    cosines = np.array([m[i] @ m[j] / norms[i] / norms[j] for i in range(len(m)) for j in range(i)])
    one_hot = (labels[:, None] == classes).astype(float)
    x, y = activations - activations.mean(axis=0), one_hot - one_hot.mean(axis=0)
    spectrum = np.linalg.eigvalsh(np.cov(activations.T))
    return {
        "alignment": np.linalg.norm(y.T @ x) ** 2 / np.linalg.norm(x.T @ x) / np.linalg.norm(y.T @ y),
        "dimension": spectrum.sum() ** 2 / np.sum(spectrum**2),
        "within": np.trace(np.mean(covariances, axis=0)),
        "between": np.trace(between),
        "nc1": np.trace(np.mean(covariances, axis=0) @ np.linalg.pinv(between, rcond=1e-10)) / len(classes),
        "nc2_norms": norms.std() / norms.mean(),
        "nc2_angles": cosines.std(),
        "nc2_simplex": np.mean(np.abs(cosines + 1 / (len(classes) - 1))),
        "nc4": NearestCentroid().fit(activations, labels).score(activations, labels),
        "nc4_left_out": left_out(activations, labels),
    }


def left_out(activations, labels):
    """Products of different inputs only, one input and one pair at a time."""
    correct = 0
    for i, x in enumerate(activations):
        distances = {}
        for c in np.unique(labels):
            members = [j for j in np.flatnonzero(labels == c) if j != i]
            pairs = [activations[j] @ activations[k] for j in members for k in members if j != k]
            distances[c] = x @ x - 2 * np.mean([x @ activations[j] for j in members]) + np.mean(pairs)
        correct += min(distances, key=distances.get) == labels[i]
    return correct / len(labels)


def test_kernel_gives_what_activations_give(recording):
    activations, labels = recording
    found = nl.kernel_geometry(activations @ activations.T, labels)._asdict()
    expected = direct(activations, labels)
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        assert found[name] == pytest.approx(value, rel=1e-8), name


def test_units_and_rotations_do_not_matter(recording):
    activations, labels = recording
    rotation, _ = np.linalg.qr(np.random.default_rng(0).standard_normal((activations.shape[1],) * 2))
    moved = 3 * activations @ rotation + 1.7
    one = nl.kernel_geometry(activations @ activations.T, labels)
    two = nl.kernel_geometry(moved @ moved.T, labels)
    scales = [9 if name in ("within", "between") else 1 for name in one._fields]
    np.testing.assert_allclose(two, np.multiply(one, scales), rtol=1e-7, atol=1e-9)


def test_collapsed_classes():
    """A simplex of points: all measures of collapse vanish, the dimension is one less than the classes."""
    labels = np.repeat(np.arange(4), 6)
    found = nl.kernel_geometry((labels[:, None] == labels) * 2.0 + 0.5, labels)
    assert found.alignment == pytest.approx(1)
    assert found.dimension == pytest.approx(3)
    np.testing.assert_allclose([found.within, *found[4:8]], 0, atol=1e-7)
    assert found.nc4 == found.nc4_left_out == 1


def test_no_structure():
    """Orthogonal inputs: each is nearest to the centre that it is part of, and to none once it is left out."""
    labels = np.repeat(np.arange(4), 6)
    found = nl.kernel_geometry(np.eye(24) + 0.3, labels)
    assert found.nc4 == 1
    assert found.nc4_left_out == pytest.approx(1 / 4)
    # <H H_labels> = C - 1, norms P - 1 and C - 1 of projections.
    assert found.alignment == pytest.approx(np.sqrt(3 / 23))
    assert found.dimension == pytest.approx(23)
    # Deviations of orthogonal inputs are orthogonal to the class means, which NC1 takes for collapse.
    assert found.nc1 == pytest.approx(0, abs=1e-12)
    assert found.within / found.between == pytest.approx((5 / 6) / (3 / 24))


def test_class_means_that_coincide_are_no_collapse():
    activations = np.array([[1.0, 0], [-1, 0], [0, 1], [0, -1]])
    found = nl.kernel_geometry(activations @ activations.T, [0, 0, 1, 1])
    assert found.nc1 == np.inf
    assert np.isnan([found.nc2_norms, found.nc2_angles, found.nc2_simplex]).all()


def test_constant_kernel():
    found = nl.kernel_geometry(np.full((6, 6), 0.3), [0, 0, 0, 1, 1, 1])
    assert np.isnan([found.alignment, found.dimension]).all()
    assert found.nc4 == 0.5


def test_alignment_and_distance(recording):
    activations, _ = recording
    kernel = activations @ activations.T
    assert nl.kernel_alignment(kernel, 5 * kernel + 2) == pytest.approx(1)
    assert nl.kernel_distance(1.25 * kernel, kernel) == pytest.approx(0.25)
    assert nl.kernel_distance(kernel, kernel) == 0


@pytest.mark.parametrize(
    ("kernel", "labels", "message"),
    [
        (np.ones((2, 3)), [0, 1], r"\(P, P\)"),
        ([[1.0, 0.5], [0.2, 1.0]], [0, 1], "symmetric"),
        ([[1.0, 2.0], [2.0, 1.0]], [0, 1], "semidefinite"),
        ([[1.0, np.nan], [np.nan, 1.0]], [0, 1], "finite"),
        (np.eye(2), [0, 1, 2], "one entry for each of the 2"),
        (np.eye(2), ["a", "a"], "two classes"),
    ],
)
def test_bad_kernels(kernel, labels, message):
    with pytest.raises(nl.InputError, match=message):
        nl.kernel_geometry(kernel, labels)


def test_kernels_of_different_inputs():
    with pytest.raises(nl.InputError, match="same inputs"):
        nl.kernel_alignment(np.eye(2), np.eye(3))
    with pytest.raises(nl.InputError, match="not zero"):
        nl.kernel_distance(np.eye(2), np.zeros((2, 2)))


def test_table_of_a_run(tree):
    table = nl.geometry_table(tree)
    kernels, labels = tree["posterior_mean"]["kernel"].values[:, 0], tree["constant_data"]["labels"].values
    by_hand = pd.DataFrame([nl.kernel_geometry(k, labels) for k in kernels])
    np.testing.assert_allclose(table.loc[1]["value"], by_hand.mean())
    np.testing.assert_allclose(table.loc[1]["error"], by_hand.std() / np.sqrt(len(kernels)))


def test_table_of_a_theory_of_three_layers():
    task = nl.tasks.orthogonal(n_inputs=20)
    theory = nl.solve(nl.Posterior(nl.Model(depth=3, activation="linear"), task))
    table = nl.geometry_table(theory)["value"].unstack()
    # The layers of a trained network separate classes more and more.
    assert table["alignment"].is_monotonic_increasing
    assert (table["within"] / table["between"]).is_monotonic_decreasing
    assert nl.geometry_table(theory)["error"].isna().all()


def test_table_needs_a_run_or_a_theory():
    with pytest.raises(nl.InputError, match="ndarray"):
        nl.geometry_table(np.eye(3))
