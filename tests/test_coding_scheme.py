"""The coding-scheme reader on populations whose scheme is known by construction."""

import numpy as np
import pytest
from scipy import stats

import nonlazy as nl
from nonlazy.representation.discreteness import gap_between_clusters, gap_between_levels
from nonlazy.representation.population import measure

LABELS = np.repeat([0, 1, 2], [20, 10, 10])
CODES = np.array([[0, 1, 1], [1, 0, 1], [1, 1, 0]])
NOISE = 0.3


def respond(class_activity, labels=LABELS, noise=NOISE, seed=1):
    """Responses of neurons to single inputs: class activity and independent noise."""
    values = np.random.default_rng(seed).standard_normal((len(labels), len(class_activity)))
    return class_activity.T[labels] + noise * values


def population(scheme, n_neurons=60, seed=0):
    generator = np.random.default_rng(seed)
    if scheme == "none":
        return np.zeros((n_neurons, 3))
    if scheme == "analog":
        return generator.standard_normal((n_neurons, 3))
    if scheme == "redundant":
        return CODES[np.arange(n_neurons) % 3].astype(float)
    return np.concatenate([5 * np.eye(3), np.zeros((n_neurons - 3, 3))])


@pytest.mark.parametrize("scheme", ["none", "analog", "redundant", "sparse"])
def test_each_scheme_is_read_at_any_scale_and_offset(scheme):
    activations = respond(population(scheme))
    assert nl.coding_scheme(activations, LABELS).name == scheme
    assert nl.coding_scheme(1e-6 * (activations + 3), LABELS.astype(str)).name == scheme


@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.float16, bool])
def test_counts_of_a_narrow_type_are_read_like_wide_ones(dtype):
    """Sums over inputs, and differences of counts, do not fit into the type."""
    counts = np.clip(120 + 100 * respond(population("redundant")), 0, 250).astype(np.uint8)
    if dtype is bool:
        counts = counts > 170
    narrow, wide = (nl.coding_scheme(counts.astype(kind), LABELS) for kind in (dtype, float))
    assert narrow.name == "redundant"
    assert np.array_equal(narrow.selectivity, wide.selectivity)
    assert narrow.evidence == wide.evidence


def test_codes_go_with_neurons_and_classes():
    activity, shuffle = population("redundant"), np.random.default_rng(3).permutation(60)
    found = nl.coding_scheme(respond(activity)[:, shuffle], LABELS)
    assert np.array_equal(found.neuron_codes, activity[shuffle].astype(bool))
    assert {code.code: code.n_neurons for code in found.codes} == {(0, 1, 1): 20, (1, 0, 1): 20, (1, 1, 0): 20}
    # Resampled neurons are in a code a binomial number of times.
    assert found.codes[0].error == pytest.approx(np.sqrt(1 / 3 * 2 / 3 / 60), rel=0.25)


def test_few_neurons_carry_a_sparse_scheme():
    found = nl.coding_scheme(respond(population("sparse")), LABELS)
    assert found.coding_neurons.tolist() == [0, 1, 2]
    # Three equal neurons; resampling takes 0 to 6 of them, as a rule.
    assert found.evidence.participation_ratio == pytest.approx(3, rel=0.05)
    assert 1 < found.evidence.participation_error < 2.5
    frame = found.to_frame()
    assert frame.loc[frame["coding"], "code"].tolist() == ["100", "010", "001"]
    assert "sparse" in str(found)


def test_signal_variance_is_unbiased():
    activity, seeds = population("analog", n_neurons=10), range(400)
    found = [measure(respond(activity, noise=2.0, seed=seed), LABELS).signal_variance.sum() for seed in seeds]
    truth = activity.var(axis=1).sum()
    assert abs(np.mean(found) - truth) < 4 * np.std(found, ddof=1) / np.sqrt(len(found))


def test_slices_of_inputs_give_the_means_and_errors_of_the_whole(monkeypatch):
    monkeypatch.setattr("nonlazy.representation.population.SLICE", 7 * 60)
    shuffled = np.random.default_rng(0).permutation(LABELS)
    activations = respond(population("analog"), shuffled)
    found = measure(activations, shuffled)
    for c in range(3):
        inputs = activations[shuffled == c]
        np.testing.assert_allclose(found.activity[:, c], inputs.mean(axis=0), rtol=1e-12)
        np.testing.assert_allclose(found.noise[:, c], stats.sem(inputs) ** 2, rtol=1e-10)


def test_random_labels_are_seldom_taken_for_structure():
    trials = 100
    alarms = sum(
        nl.coding_scheme(respond(population("none", n_neurons=20), seed=seed), LABELS).name != "none"
        for seed in range(trials)
    )
    # More than this happens in one of 10 000 cases at the stated rate of 1 %.
    assert alarms <= stats.binom.isf(1e-4, trials, 0.01)


@pytest.mark.parametrize(
    ("values", "gap"),
    [
        (stats.norm.ppf, 1 - 2 / np.pi),
        (lambda q: q, 1 / 4),
        (lambda q: np.cos(np.pi * q), 1 - 8 / np.pi**2),
        (np.round, 0),
    ],
)
def test_gaps_of_known_distributions(values, gap):
    points = values((np.arange(20_000) + 0.5) / 20_000)[:, None]
    assert gap_between_levels(np.hstack([points, 3 * points + 1])) == pytest.approx(gap, abs=1e-3)


def test_as_many_clusters_are_found_as_there_are():
    generator = np.random.default_rng(0)
    corners = generator.permutation(np.repeat([[0, 0], [0, 5], [5, 0], [5, 5], [2, 9]], 20, axis=0))
    points = corners + 0.3 * generator.standard_normal(corners.shape)
    # Each pair of clusters: spread .3 around centres some 5 apart.
    assert gap_between_clusters(points) < 0.05
    assert gap_between_clusters(generator.random((100, 2))) > 0.15


def test_neurons_tuned_to_an_angle_are_graded():
    generator = np.random.default_rng(0)
    preferred = 2 * np.pi * generator.random((200, 1))
    activity = np.exp(np.cos(preferred - 2 * np.pi * np.arange(5) / 5))
    labels = np.repeat(np.arange(5), 12)
    assert nl.coding_scheme(respond(activity, labels, noise=0.1), labels).name == "analog"


def test_more_codes_than_clusters_are_discrete_by_their_levels():
    codes = np.random.default_rng(0).integers(0, 2, (80, 8)).astype(float)
    labels = np.repeat(np.arange(8), 12)
    assert nl.coding_scheme(respond(codes, labels), labels).name == "redundant"


def test_responses_without_noise():
    assert nl.coding_scheme(population("redundant").T[LABELS], LABELS).name == "redundant"


def clustered_inputs(seed=0, n_features=40):
    """Inputs of a class share half of their variance."""
    values = np.random.default_rng(seed).standard_normal((len(LABELS) + 3, n_features))
    return (values[-3:][LABELS] + values[:-3]) / np.sqrt(2)


@pytest.mark.parametrize("phi", [np.tanh, lambda z: z * (z > 0), np.exp])
def test_random_features_of_clustered_inputs_have_no_scheme(phi):
    inputs = clustered_inputs()
    features = phi(inputs @ np.random.default_rng(1).standard_normal((40, 100)) / np.sqrt(40))
    assert nl.coding_scheme(features, LABELS).name != "none"
    assert nl.coding_scheme(features, LABELS, inputs=inputs).name == "none"


@pytest.mark.parametrize("scheme", ["analog", "redundant", "sparse"])
def test_schemes_are_read_beyond_random_features(scheme):
    found = nl.coding_scheme(respond(population(scheme)), LABELS, inputs=clustered_inputs())
    assert found.name == scheme
    assert found.evidence.random_p_value < 0.01
    assert "random features" in str(found)


def test_one_code_for_all_neurons_is_redundant():
    found = nl.coding_scheme(respond(np.tile([1.0, 1.0, 0.0], (30, 1))), LABELS)
    assert found.name == "redundant"
    assert [code.name for code in found.codes] == ["110"]


def test_copies_of_neurons_do_not_make_codes():
    assert nl.coding_scheme(np.tile(respond(population("analog", n_neurons=30)), 8), LABELS).name == "analog"


def test_dead_neurons_are_silent_ones():
    activations = respond(population("sparse", n_neurons=6))
    with_dead = np.concatenate([activations, np.full((len(LABELS), 60), 0.1)], axis=1)
    found = nl.coding_scheme(with_dead, LABELS)
    assert found.name == "sparse"
    assert found.coding_neurons.tolist() == [0, 1, 2]
    assert np.isfinite(found.selectivity).all()


@pytest.mark.parametrize(
    ("activations", "labels", "reason"),
    [
        (respond(np.zeros((30, 3)), np.array([0, 0, 1, 1])), np.array([0, 0, 1, 1]), "inputs are too few"),
        (respond(population("redundant", n_neurons=6)), LABELS, "6 different neurons are too few"),
        (respond(population("redundant"), noise=1.0), LABELS, "responses too noisy"),
        (respond(population("analog", n_neurons=11), noise=0.7), LABELS, "discrete from continuous"),
    ],
)
def test_what_the_data_cannot_tell_is_undecided(activations, labels, reason):
    found = nl.coding_scheme(activations, labels)
    assert found.name == "undecided"
    assert reason in found.reason
    assert found.codes == ()


@pytest.mark.parametrize(
    ("activations", "labels", "message"),
    [
        (np.ones(4), [0, 0, 1, 1], "shape"),
        ([[1, 2], [3], [4], [5]], [0, 0, 1, 1], "different lengths"),
        (np.full((4, 2), 0.1), [0, 0, 1, 1], "constant"),
        (np.full((4, 2), np.nan), [0, 0, 1, 1], "finite, got nan for input 0, neuron 0"),
        (1e200 * np.eye(4), [0, 0, 1, 1], "squares"),
        (np.eye(4), [0, 0, 0, 0], "two classes"),
        (np.eye(4), [0, 0, 0, 1], "two inputs"),
        (np.eye(4), [0, 1], "one entry"),
        (np.eye(4), [0.0, 0.0, np.nan, 1.0], "labels must be finite"),
        (np.array([["a"] * 2] * 4), [0, 0, 1, 1], "real numbers"),
    ],
)
def test_bad_input_names_the_argument(activations, labels, message):
    with pytest.raises(nl.InputError, match=message):
        nl.coding_scheme(activations, labels)


@pytest.mark.parametrize(
    ("inputs", "message"),
    [
        (np.ones((3, 2)), "inputs must have shape"),
        (np.zeros((40, 2)), "not all zero"),
        (np.full((40, 2), np.inf), "finite"),
        ([["a"]] * 40, "real numbers"),
    ],
)
def test_bad_inputs_of_the_network(inputs, message):
    with pytest.raises(nl.InputError, match=message):
        nl.coding_scheme(respond(population("analog")), LABELS, inputs=inputs)


PHI = {
    "linear": lambda z: z,
    "erf": lambda z: stats.norm.cdf(z * np.sqrt(np.pi / 2)),
    "relu": lambda z: z * (z > 0),
}


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::nonlazy.SamplingWarning")
# Lazy networks as wide as there are inputs do learn a little; these are wider.
@pytest.mark.parametrize(("regime", "width"), [("lazy", 400), ("nonlazy", 100)])
@pytest.mark.parametrize(("activation", "scheme"), [("linear", "analog"), ("erf", "redundant"), ("relu", "sparse")])
def test_images_show_the_scheme_of_the_activation_and_lazy_networks_none(activation, scheme, regime, width):
    task = nl.tasks.mnist(classes=(0, 1, 2), n_train=100, n_test=10)
    posterior = nl.Posterior(nl.Model(activation=activation, regime=regime, width=width), task, temperature=1e-4)
    tree = nl.sample(posterior, chains=1, warmup=150, draws=5, progress=False, keep=("preactivations",))
    last = tree["posterior"]["preactivations"].isel(chain=0, draw=-1, layer=0).transpose("input", "neuron").values
    found = nl.coding_scheme(PHI[activation](last), task.labels, inputs=task.inputs)
    assert found.name == ("none" if regime == "lazy" else scheme)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::nonlazy.SamplingWarning")
@pytest.mark.parametrize(("activation", "scheme"), [("linear", "analog"), ("erf", "redundant"), ("relu", "sparse")])
def test_draws_of_the_posterior_show_the_scheme_of_their_activation(activation, scheme):
    task = nl.tasks.orthogonal(n_inputs=100, class_ratios=(0.5, 0.25, 0.25))
    model = nl.Model(depth=1, width=100, activation=activation)
    posterior = nl.Posterior(model, task, temperature=1e-5)
    tree = nl.sample(posterior, chains=2, warmup=150, draws=5, progress=False, keep=("preactivations",))
    last = tree["posterior"]["preactivations"].isel(draw=-1, layer=0)
    for chain in last.transpose("chain", "input", "neuron").values:
        assert nl.coding_scheme(PHI[activation](chain), task.labels).name == scheme
