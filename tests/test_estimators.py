"""scikit-learn's checks of estimators, and answers that do not come from this library."""

from __future__ import annotations

import pickle
from itertools import product

import jax
import numpy as np
import pytest
from scipy.stats import norm
from sklearn.base import clone
from sklearn.datasets import load_iris, make_blobs
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.gaussian_process.kernels import ConstantKernel, DotProduct
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import parametrize_with_checks

import nonlazy as nl
from nonlazy.estimators.probabilities import largest_output

pytestmark = pytest.mark.filterwarnings("ignore::nonlazy.SamplingWarning", "ignore::nonlazy.DataWarning")

SHORT = {"width": 10, "temperature": 1e-2, "chains": 2, "warmup": 20, "draws": 10}
BACKENDS = {
    "sampling": SHORT | {"random_state": 0},
    "theory": {"backend": "theory", "activation": "linear"},
    "lazy": {"backend": "lazy"},
}


@parametrize_with_checks(
    [
        nl.NonLazyClassifier(backend="lazy"),
        nl.NonLazyRegressor(backend="lazy"),
        nl.NonLazyClassifier(backend="theory", activation="linear"),
        nl.NonLazyRegressor(backend="theory", activation="linear"),
    ]
)
def test_scikit_learn_checks(estimator, check):
    check(estimator)


@pytest.mark.slow
@parametrize_with_checks([nl.NonLazyClassifier(**SHORT), nl.NonLazyRegressor(**SHORT)])
def test_scikit_learn_checks_of_sampling(estimator, check):
    check(estimator)


def test_defaults_follow_the_library():
    estimator = nl.NonLazyClassifier()
    assert (estimator.backend, estimator.method, estimator.activation) == ("sampling", "hmc", nl.Model().activation)


@pytest.fixture(scope="module")
def iris():
    data = load_iris(as_frame=True)
    return data.data, data.target_names[data.target]


@pytest.fixture(scope="module")
def blobs():
    return make_blobs(24, n_features=3, centers=2, cluster_std=2.0, random_state=0)


@pytest.fixture(scope="module", params=BACKENDS)
def fitted(request, blobs):
    X, y = blobs
    return nl.NonLazyClassifier(**BACKENDS[request.param]).fit(X[:16], y[:16])


def test_string_labels_and_a_data_frame(iris):
    frame, names = iris
    classifier = nl.NonLazyClassifier(backend="lazy").fit(frame[::2], names[::2])
    assert classifier.classes_.tolist() == ["setosa", "versicolor", "virginica"]
    assert classifier.feature_names_in_.tolist() == list(frame.columns)
    assert classifier.score(frame[1::2], names[1::2]) > 0.9
    assert isinstance(classifier.theory_, nl.Theory)
    assert classifier.samples_ is None
    with pytest.raises(ValueError, match="feature names"):
        classifier.predict(frame.rename(columns=str.upper))


def test_search_over_a_pipeline(iris):
    frame, names = iris
    pipeline = make_pipeline(StandardScaler(), nl.NonLazyClassifier(backend="lazy"))
    grid = {"nonlazyclassifier__temperature": [1e-3, 1e-1], "nonlazyclassifier__activation": ["erf", "relu"]}
    search = GridSearchCV(pipeline, grid, cv=3).fit(frame, names)
    assert search.best_score_ > 0.9
    assert np.isfinite(search.cv_results_["mean_test_score"]).all()


def test_probabilities_and_classes_agree(fitted, blobs):
    X, _ = blobs
    probability = fitted.predict_proba(X)
    np.testing.assert_allclose(probability.sum(axis=1), 1, rtol=1e-12)
    np.testing.assert_array_equal(fitted.predict(X), fitted.classes_[probability.argmax(axis=1)])


def test_a_copy_by_pickle_predicts_the_same(fitted, blobs):
    X, _ = blobs
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(fitted)).predict_proba(X), fitted.predict_proba(X))


def test_predictions_do_not_depend_on_the_batch(fitted, blobs):
    X, _ = blobs
    one_by_one = np.concatenate([fitted.predict_proba(x[None]) for x in X[::-1]])[::-1]
    np.testing.assert_allclose(fitted.predict_proba(X), one_by_one, atol=1e-9)


def test_the_same_seed_gives_the_same_fit(blobs):
    X, y = (values[:16] for values in blobs)
    first, again, other = (nl.NonLazyClassifier(**SHORT, random_state=seed).fit(X, y) for seed in (1, 1, 2))
    np.testing.assert_array_equal(first.predict_proba(X), again.predict_proba(X))
    assert not np.array_equal(first.predict_proba(X), other.predict_proba(X))
    generator = np.random.RandomState(1)
    np.testing.assert_array_equal(
        first.predict_proba(X), clone(other).set_params(random_state=generator).fit(X, y).predict_proba(X)
    )


@pytest.mark.parametrize(
    ("backend", "shape"), [("sampling", (20, 2)), *product(("theory", "lazy"), [(20,), (20, 1), (20, 2)])]
)
def test_regression_has_the_axes_and_the_units_of_the_targets(backend, shape):
    X = np.random.default_rng(0).standard_normal((20, 3))
    y = (X @ np.array([[1.0, 2.0], [0.5, -1.0], [0.0, 1.0]]))[:, : shape[-1] if len(shape) > 1 else 1].reshape(shape)
    regressor = nl.NonLazyRegressor(**BACKENDS[backend])
    mean, std = regressor.fit(X, y).predict(X, return_std=True)
    assert mean.shape == std.shape == shape
    scaled_mean, scaled_std = clone(regressor).fit(X, 100 * y + 7).predict(X, return_std=True)
    np.testing.assert_allclose(scaled_mean, 100 * mean + 7, rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(scaled_std, 100 * std, rtol=1e-4, atol=1e-4)


def test_lazy_linear_regression_is_the_gaussian_process_with_a_dot_product_kernel():
    rng = np.random.default_rng(0)
    X, new = rng.standard_normal((15, 4)), rng.standard_normal((6, 4))
    y = X @ rng.standard_normal(4) + 0.3 * rng.standard_normal(15) + 2
    regressor = nl.NonLazyRegressor(backend="lazy", activation="linear", temperature=0.1, weight_std=1.3).fit(X, y)
    # K_0 = sigma_1^2 (x x' / s^2 + 1) / (n_features + 1)
    s2 = np.mean(X**2)
    kernel = ConstantKernel(1.3**2 / 5 / s2, "fixed") * DotProduct(np.sqrt(s2), "fixed")
    expected = GaussianProcessRegressor(kernel, alpha=0.1, optimizer=None, normalize_y=True).fit(X, y)
    for ours, theirs in zip(
        regressor.predict(new, return_std=True), expected.predict(new, return_std=True), strict=True
    ):
        np.testing.assert_allclose(ours, theirs, rtol=1e-8)


def test_probability_of_the_largest_of_two_outputs_is_closed():
    rng = np.random.default_rng(0)
    mean, variance = rng.standard_normal((50, 2)), rng.uniform(0.2, 2, (50, 2))
    expected = norm.cdf((mean[:, 0] - mean[:, 1]) / np.sqrt(variance.sum(axis=1)))
    np.testing.assert_allclose(largest_output(mean, variance)[:, 0], expected, atol=1e-6)


def test_probability_of_the_largest_of_three_outputs_is_that_of_draws():
    mean, variance = np.array([[0.3, 0.0, -0.2]]), np.array([[0.1, 0.5, 2.0]])
    draws = mean + np.sqrt(variance) * np.random.default_rng(0).standard_normal((400_000, 3))
    counted = np.bincount(draws.argmax(axis=1), minlength=3) / len(draws)
    np.testing.assert_allclose(largest_output(mean, variance)[0], counted, atol=5 * 0.5 / np.sqrt(len(draws)))


def test_copies_of_an_input_enter_once_with_their_mean_target():
    X = np.array([[1.0, 0.0], [0.0, 1.0], [1.0, 0.0], [0.5, 0.5]])
    posterior = nl.NonLazyRegressor(backend="lazy").fit(X, [1.0, 0.0, 3.0, 0.0]).posterior_
    np.testing.assert_allclose(posterior.task.inputs[:, :2] / posterior.task.inputs[0, 0], X[[0, 1, 3]])
    np.testing.assert_allclose(posterior.task.targets[:, 0] * np.std([1, 0, 3, 0]) + 1, [2, 0, 0], atol=1e-12)


def test_an_intercept_is_one_more_feature(blobs):
    X, y = blobs
    for intercept in (True, False):
        classifier = nl.NonLazyClassifier(backend="lazy", fit_intercept=intercept).fit(X, y)
        inputs = classifier.posterior_.task.inputs
        assert inputs.shape[1] == X.shape[1] + intercept
        np.testing.assert_allclose(np.mean(inputs**2), 1)
        assert classifier.predict(X).shape == y.shape


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"backend": "magic"}, "backend must be one of 'sampling', 'theory', 'lazy', got 'magic'"),
        ({"width": 0}, "width must be an integer of at least 1"),
        ({"temperature": -1.0}, "temperature must be"),
        ({"draws": 0}, "draws must be"),
        ({"activation": "step"}, "activation must be"),
        ({"random_state": "today"}, "seed"),
    ],
)
def test_parameters_out_of_range_are_refused_by_fit(blobs, parameters, message):
    with pytest.raises(ValueError, match=message):
        nl.NonLazyClassifier(**parameters).fit(*blobs)


@pytest.mark.parametrize(
    ("X", "y", "message"),
    [
        (np.eye(3), ["a", "a", "a"], "y must hold at least two classes, got one class: .*a"),
        (np.zeros((3, 2)), [0, 1, 1], "X must hold a number that is not zero"),
        (np.ones((3, 2)), [0, 1, 1], "X must hold at least two different inputs, got 3 copies"),
        ([[1.0], [1.0], [2.0]], [0, 1, 0], "got class 1 only on inputs that another class has"),
        (np.eye(3), [0.1, 0.2, 0.3], "Unknown label type"),
    ],
)
def test_data_that_cannot_be_learned_are_refused(X, y, message):
    with pytest.raises(ValueError, match=message):
        nl.NonLazyClassifier(backend="lazy").fit(X, np.asarray(y))


def test_regression_has_no_coding_scheme():
    regressor = nl.NonLazyRegressor(backend="lazy").fit([[0.0], [1.0]], [0.0, 1.0])
    with pytest.raises(AttributeError, match="needs classes"):
        _ = regressor.coding_scheme_


def test_activities_are_those_of_a_network_that_fits(fitted):
    assert fitted._last_layer().shape == (16, fitted.width)


def test_a_classifier_reads_its_coding_scheme(fitted):
    assert fitted.coding_scheme_.classes.tolist() == fitted.classes_.tolist()


@pytest.mark.slow
def test_own_activation_and_several_layers(blobs):
    X, y = blobs
    classifier = nl.NonLazyClassifier(**SHORT, depth=2, activation=jax.nn.sigmoid, random_state=0).fit(X, y)
    assert classifier.predict_proba(X).shape == (24, 2)


@pytest.mark.slow
def test_sampling_and_theory_predict_the_same():
    r"""Within Monte Carlo errors, and the theory's neglected terms of relative order 1/N."""
    X, y = make_blobs(30, n_features=10, centers=2, cluster_std=4.0, random_state=3)
    settings = {"width": 200, "temperature": 1e-4, "activation": "tanh", "random_state": 0}
    sampled = nl.NonLazyClassifier(**settings, warmup=500, draws=500).fit(X[:12], y[:12])
    theory = nl.NonLazyClassifier(**settings, backend="theory").fit(X[:12], y[:12])
    (mean, _), (expected, variance) = sampled._outputs(X[12:]), theory._outputs(X[12:])
    # At least 100 effective draws, and O(1/N) for outputs of order one.
    tolerance = 4 * np.sqrt(variance / 100) + 2 / 200
    assert (np.abs(mean - expected) < tolerance).all()
