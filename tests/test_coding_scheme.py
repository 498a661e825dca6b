import numpy as np
import pytest

import nonlazy as nl

LABELS = np.repeat([0, 1, 2], [20, 10, 10])
CODES = np.array([[0, 1, 1], [1, 0, 1], [1, 1, 0]])


def _activations(class_activity, seed=1):
    noise = np.random.default_rng(seed).standard_normal((len(LABELS), len(class_activity)))
    return class_activity.T[LABELS] + 0.3 * noise


def _population(scheme):
    generator = np.random.default_rng(0)
    if scheme == "none":
        return np.zeros((60, 3))
    if scheme == "analog":
        return generator.standard_normal((60, 3))
    if scheme == "redundant":
        return CODES[np.arange(60) % 3].astype(float)
    return np.concatenate([5 * np.eye(3), np.zeros((57, 3))])


@pytest.mark.parametrize("scheme", ["none", "analog", "redundant", "sparse"])
def test_each_scheme_is_read_at_any_scale(scheme):
    activations = _activations(_population(scheme))
    assert nl.coding_scheme(activations, LABELS).name == scheme
    assert nl.coding_scheme(1e6 * activations, LABELS.astype(str)).name == scheme


def test_codes_and_coding_neurons_are_those_of_the_population():
    found = nl.coding_scheme(_activations(_population("redundant")), LABELS)
    assert {code.code: code.n_neurons for code in found.codes} == {(0, 1, 1): 20, (1, 0, 1): 20, (1, 1, 0): 20}
    sparse = nl.coding_scheme(_activations(_population("sparse")), LABELS)
    assert sparse.coding_neurons.tolist() == [0, 1, 2]
    assert len(sparse.to_frame()) == 60
    assert "sparse" in str(sparse)


def test_too_few_inputs_are_undecided():
    labels = np.array([0, 0, 1, 1])
    assert nl.coding_scheme(np.random.default_rng(0).standard_normal((4, 30)), labels).name == "undecided"


@pytest.mark.parametrize(
    ("activations", "labels", "message"),
    [
        (np.ones(4), [0, 0, 1, 1], "shape"),
        (np.ones((4, 2)), [0, 0, 1, 1], "constant"),
        (np.full((4, 2), np.nan), [0, 0, 1, 1], "finite"),
        (np.eye(4), [0, 0, 0, 0], "two classes"),
        (np.eye(4), [0, 0, 0, 1], "two inputs"),
        (np.eye(4), [0, 1], "one entry"),
        (np.array([["a"] * 2] * 4), [0, 0, 1, 1], "real numbers"),
    ],
)
def test_bad_input_names_the_argument(activations, labels, message):
    with pytest.raises(nl.InputError, match=message):
        nl.coding_scheme(activations, labels)
