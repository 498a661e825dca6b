r"""The evidence of a model, log p(Y), from replicas on the rungs of a path.

Neighbouring rungs overlap, and Bennett's acceptance ratio estimates the ratio of their normalizations from the works of
going up and going down; on the hottest rung neurons are independent draws from the theory's law, whose normalization is known.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import xarray as xr
from jaxtyping import Float
from scipy.optimize import brentq
from scipy.special import expit, logsumexp

from nonlazy.errors import InputError
from nonlazy.validation import run_of

# Of each chain, for the error; longer than what a replica remembers if draws are many.
BLOCKS = 5


class LogEvidence(NamedTuple):
    """log p(Y) in nats, and its Monte Carlo error."""

    value: float
    error: float


def log_evidence(tree: xr.DataTree) -> LogEvidence:
    r"""The log evidence \(\log p(Y) = \log \int d\Theta\, P_0(\Theta)\, N(Y \mid f_\Theta, T)\) of a model.

    \[ \log p(Y) = -\log \langle 1 / E \rangle_K - \sum_{k < K} c_k, \qquad
       \langle \sigma(w_\uparrow - c_k) \rangle_k = \langle \sigma(w_\downarrow + c_k) \rangle_{k+1} \]

    with the works w of neighbouring rungs and the estimate E on the hottest one, K (docs, Evidence). It includes the
    normalization of the Gaussian likelihood, and compares models, priors and temperatures on the same targets.

    Args:
        tree: result of `nonlazy.sample(..., method="tempered")`.

    Returns:
        The value in nats and its error: that between chains, or that from leaving out a fifth of each chain at a time if it is
        larger.

    Raises:
        InputError: draws of another method, or fewer than five of each chain.

    Source:
        Bennett, J. Comput. Phys. 22, 245 (1976), for the ratios.

    Examples:
        >>> import nonlazy as nl
        >>> posterior = nl.Posterior(nl.Model(width=6), nl.tasks.orthogonal(4, (0.5, 0.5)), temperature=0.05)
        >>> tree = nl.sample(posterior, chains=2, warmup=50, draws=100, method="tempered", progress=False)
        >>> found = nl.log_evidence(tree)
        >>> bool(abs(found.value - nl.solve(posterior, progress=False).log_evidence) < 1)
        True
    """
    stats = run_of("tree", tree, "sample_stats")["sample_stats"]
    if "work_up" not in stats:
        raise InputError("tree must be a result of nonlazy.sample with method 'tempered', got one of another method.")
    if stats.sizes["draw"] < BLOCKS:
        raise InputError(f"tree must hold at least {BLOCKS} draws of each chain, got {stats.sizes['draw']}.")
    chains = zip(*(stats[name].values for name in ("work_up", "work_down", "log_evidence_hottest")), strict=True)
    values, errors = np.transpose([_of_chain(*works) for works in chains])
    within = float(np.sqrt(np.sum(errors**2)) / len(errors))
    between = float(values.std(ddof=1) / np.sqrt(len(values))) if len(values) > 1 else 0.0
    return LogEvidence(float(values.mean()), max(within, between))


def _of_chain(*works: Float[np.ndarray, "draw ..."]) -> tuple[float, float]:
    """Estimate and jackknife error of one chain, whose rungs are its own."""
    blocks = [np.array_split(work, BLOCKS) for work in works]
    without = [_estimate(*(np.concatenate(b[:i] + b[i + 1 :]) for b in blocks)) for i in range(BLOCKS)]
    return _estimate(*works), float(np.sqrt((BLOCKS - 1) * np.var(without)))


def _estimate(
    up: Float[np.ndarray, "draw pair"], down: Float[np.ndarray, "draw pair"], hottest: Float[np.ndarray, " draw"]
) -> float:
    at_hottest = np.log(len(hottest)) - logsumexp(-hottest)
    return float(at_hottest - sum(log_ratio(u, d) for u, d in zip(up.T, down.T, strict=True)))


def log_ratio(up: Float[np.ndarray, " draw"], down: Float[np.ndarray, " draw"]) -> float:
    """Log of the hotter rung's normalization over the colder one's, by Bennett's acceptance ratio."""
    low, high = min(up.min(), -down.max()), max(up.max(), -down.min())

    def balance(c: float) -> float:
        return float(np.mean(expit(up - c)) - np.mean(expit(down + c)))

    return float(brentq(balance, low - 1, high + 1))
