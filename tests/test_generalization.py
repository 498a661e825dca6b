"""Errors on test inputs: against Gaussian laws known in advance, scikit-learn's Gaussian process, and themselves."""

from __future__ import annotations

import json

import numpy as np
import pytest
import xarray as xr
from helpers import assert_close, chi_square_bound
from scipy import stats
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.gaussian_process.kernels import ConstantKernel, DotProduct

import nonlazy as nl
from nonlazy.analysis import predictor

N_TEST, N_CLASSES, T = 300, 3, 0.01
CENTRE_STD, SPREAD = 0.7, 0.9


def tree_of(draws, targets, labels):
    """What `nl.sample` returns, as far as predictions are concerned."""
    configuration = {"task": {"class_names": list("abc")}, "temperature": T}
    groups = {
        "posterior": {"predictions": (("chain", "draw", "test_input", "output"), draws)},
        "constant_data": {
            "test_targets": (("test_input", "output"), targets),
            "test_labels": (("test_input",), labels),
        },
    }
    tree = xr.DataTree.from_dict({name: xr.Dataset(variables) for name, variables in groups.items()})
    tree.attrs["configuration"] = json.dumps(configuration)
    return tree


def gaussian_run(rng, chains=4, draws=10, shift=0.0, correlation=0.0):
    """Independent Gaussian outputs, targets drawn from the same law, and each chain displaced by its own shift."""
    labels = np.arange(N_TEST) % N_CLASSES
    mean = CENTRE_STD * rng.standard_normal((N_TEST, N_CLASSES))
    noise = rng.standard_normal((chains, draws, N_TEST, N_CLASSES))
    for i in range(1, draws):
        noise[:, i] = correlation * noise[:, i - 1] + np.sqrt(1 - correlation**2) * noise[:, i]
    shifts = shift * rng.standard_normal((chains, 1, N_TEST, N_CLASSES))
    std = np.hypot(np.hypot(shift, SPREAD), np.sqrt(T))
    targets = mean + std * rng.standard_normal(mean.shape)
    return tree_of(mean + shifts + SPREAD * noise, targets, labels), (targets - mean) ** 2


def repeated(n=40, **settings):
    """Datasets of independent runs, and the squared bias of each."""
    rng = np.random.default_rng(3)
    runs = [gaussian_run(rng, **settings) for _ in range(n)]
    return xr.concat([nl.generalization(tree) for tree, _ in runs], "run"), np.array([bias for _, bias in runs])


def z(values, expected=0.0):
    return float((np.mean(values) - expected) / stats.sem(values))


@pytest.mark.parametrize(
    "settings", [{}, {"correlation": 0.6, "draws": 20}, {"shift": 0.5}], ids=["independent", "correlated", "frozen"]
)
def test_few_draws_are_unbiased(settings):
    """With 40 draws the plain squared bias would be 2 % of the variance too large, many errors here."""
    found, bias = repeated(**settings)
    variance = SPREAD**2 + settings.get("shift", 0.0) ** 2
    assert_close(
        {
            "bias": z(found.bias_squared - bias.mean(axis=(1, 2))),
            "variance": z(found.variance, variance),
            "first class": z(found.class_bias_squared[:, 0, 0] - bias[:, ::3, 0].mean(axis=1)),
        }
    )
    np.testing.assert_allclose(found.error, found.bias_squared + found.variance)
    np.testing.assert_allclose(found.class_error, found.class_bias_squared + found.class_variance)


def test_monte_carlo_errors_are_those_of_repeated_runs():
    found, bias = repeated(n=60, draws=50)
    n = found.sizes["run"]
    for name, truth in (("bias_squared", bias.mean(axis=(1, 2))), ("variance", SPREAD**2)):
        scores = ((found[name] - truth) / found[f"{name}_mcse"]).values
        # Errors are estimated from 200 draws, and reach their true size to some 10 %.
        assert stats.chi2.ppf(1e-4, n) / 1.25 < np.sum(scores**2) < 1.25 * chi_square_bound(n), name


def test_calibrated_targets():
    found, _ = repeated(draws=200, n=10)
    assert_close({"standardized": z(found.standardized_error, 1)})
    assert_close({f"{level:g}": z(found.coverage.sel(level=level), level) for level in (0.2, 0.5, 0.9)})


def test_totals_are_means_over_classes(tree):
    found = nl.generalization(tree)
    weights = found.n_test / found.n_test.sum()
    for name in ("error", "bias_squared", "variance"):
        assert (found[f"class_{name}"].mean("output") * weights).sum() == pytest.approx(float(found[name]))
    assert (found.class_misclassified * weights).sum() == pytest.approx(float(found.misclassified))
    assert found.error == pytest.approx(tree["sample_stats"]["test_error"].values.mean())
    assert found.bias_squared == pytest.approx(predictor(tree).bias)
    assert found.variance == pytest.approx(predictor(tree).variance_part)


def test_class_without_test_inputs():
    tree, _ = gaussian_run(np.random.default_rng(0))
    tree = tree_of(
        tree["posterior"]["predictions"].values, tree["constant_data"]["test_targets"].values, np.zeros(N_TEST, int)
    )
    found = nl.generalization(tree)
    assert np.isfinite(found.class_error[0]).all()
    assert np.isnan(found.class_error[1:]).all()


def test_one_chain_and_one_draw():
    rng = np.random.default_rng(0)
    assert np.isfinite(nl.generalization(gaussian_run(rng, chains=1)[0]).bias_squared)
    assert np.isnan(nl.generalization(gaussian_run(rng, chains=1, draws=1)[0]).bias_squared)


def test_outputs_that_are_not_classes():
    task = nl.tasks.from_arrays(np.eye(4), targets=np.eye(4)[:, :2], labels=[0, 1, 2, 2], test_inputs=np.eye(4),
                                test_labels=[0, 1, 2, 2], test_targets=np.eye(4)[:, :2])  # fmt: skip
    found = nl.generalization(nl.solve(nl.Posterior(nl.Model(regime="lazy", activation="linear"), task)))
    assert np.isnan(found.misclassified)
    assert found.output.values.tolist() == [0, 1]


@pytest.fixture(scope="module")
def curve_posteriors():
    model = nl.Model(regime="lazy", activation="linear")
    tasks = [nl.tasks.digits(n_train=p, n_test=90, seed=s) for p in (12, 40) for s in (0, 1)]
    return [nl.Posterior(model, task, temperature=0.05) for task in tasks]


def test_learning_curve_of_a_gaussian_process(curve_posteriors):
    """A lazy linear network is Bayesian linear regression, which scikit-learn has too."""
    curve = nl.learning_curve(curve_posteriors, progress=False)
    assert curve.n_inputs.values.tolist() == [12, 12, 40, 40]
    for i, posterior in enumerate(curve_posteriors):
        task = posterior.task
        kernel = ConstantKernel(1 / task.n_features, "fixed") * DotProduct(0, "fixed")
        process = GaussianProcessRegressor(kernel, alpha=0.05, optimizer=None).fit(task.inputs, task.targets)
        mean, std = process.predict(task.test_inputs, return_std=True)
        misses = task.test_targets - mean
        assert curve.bias_squared[i] == pytest.approx(np.mean(misses**2))
        assert curve.variance[i] == pytest.approx(np.mean(std**2))
        assert curve.standardized_error[i] == pytest.approx(np.mean(misses**2 / (std**2 + 0.05)))
        inside = np.abs(misses) < stats.norm.ppf(0.95) * np.sqrt(std**2 + 0.05)
        assert curve.coverage.sel(level=0.9)[i] == pytest.approx(inside.mean())
        first = task.test_labels == 0
        assert curve.class_bias_squared[i, 0, 1] == pytest.approx(np.mean(misses[first, 1] ** 2))
        assert curve.misclassified[i] == pytest.approx(np.mean(mean.argmax(axis=1) != task.test_labels))
    assert (curve.error_mcse == 0).all()


def test_learning_curve_of_runs(posterior, tree):
    curve = nl.learning_curve([posterior, posterior], lambda posterior, progress: tree, progress=False)
    xr.testing.assert_equal(curve.isel(n_inputs=1, drop=True), nl.generalization(tree))


def test_learning_curve_says_where_it_failed(curve_posteriors, capsys):
    def fail(posterior, progress):
        raise nl.ConvergenceError("no.")

    with pytest.raises(nl.ConvergenceError) as caught:
        nl.learning_curve(curve_posteriors[2:], fail)
    assert caught.value.__notes__ == ["At P = 40 (1 of 2) of the learning curve."]
    assert "P = 40 (1 of 2)" in capsys.readouterr().err


def test_bad_input(curve_posteriors, posterior):
    never = pytest.fail
    two_classes = nl.Posterior(nl.Model(), nl.tasks.digits((0, 1), n_train=12, n_test=4))
    without = nl.Posterior(nl.Model(), nl.tasks.orthogonal(n_inputs=6))
    for posteriors, message in (
        ([], "at least one"),
        (posterior, "a list"),
        ([posterior.task], "Task in it"),
        ([without], "test inputs"),
        ([posterior, two_classes], "same classes"),
    ):
        with pytest.raises(nl.InputError, match=message):
            nl.learning_curve(posteriors, never)
    with pytest.raises(nl.InputError, match="method must be"):
        nl.learning_curve([posterior], "theory")
    with pytest.raises(nl.InputError, match="none"):
        nl.generalization(nl.solve(nl.Posterior(nl.Model(activation="linear"), without.task)))
    with pytest.raises(nl.InputError, match="float"):
        nl.generalization(0.5)


def test_bars_end_at_the_error(tree):
    found = nl.generalization(tree)
    with nl.plot.style():
        _, axes = nl.plot.subplots(1, 1, 4, 3)
        parts = [{"run": found[f"class_{part}"].mean("output")} for part in ("bias_squared", "variance")]
        ax = nl.plot.bias_variance(*parts, found.label.values, axes[0][0])
    tops = [bar.get_y() + bar.get_height() for bar in ax.patches]
    np.testing.assert_allclose(tops[1::2], found.class_error.mean("output"))
