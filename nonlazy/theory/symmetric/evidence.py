r"""The log evidence of one hidden layer beyond the mean field: fluctuations of the dual variables around their optimum.

\[ p(Y) = \Big(\frac{N}{2\pi}\Big)^{mP} \int dt\, e^{-N D(i t)} \quad\Rightarrow\quad
   \log p(Y) = -N D(t) + \frac{mP}{2} \log \frac{N}{2 \pi} - \frac12 \log\det H , \qquad H = -\nabla^2 D . \]

H acts on the class means and, \(P_c - 1\) times the same, on what differs between inputs of a class,
\(H_c = \langle a a^T \mathrm{Var}(\phi_c \mid a, \nu) \rangle + N T\, 1\).
"""

from __future__ import annotations

import math

import numpy as np

from nonlazy.theory.symmetric.data import SymmetricData
from nonlazy.theory.symmetric.dual import Point


def log_evidence(data: SymmetricData, point: Point, width: int) -> float:
    """log p(Y) from the optimum of the dual; what is left out is of the next order in P / N."""
    m, n_inputs = point.t.shape[1], float(data.counts.sum())
    root = np.repeat(np.sqrt(data.counts), m)
    log_det = np.linalg.slogdet(point.curvature / np.outer(root, root))[1]
    a = math.sqrt(data.readout_variance) * point.ensemble.x[:, :m]
    for count, variance in zip(data.counts, point.ensemble.moments.phi_variance.T, strict=True):
        within = (a.T * (point.ensemble.weights * variance)) @ a + data.width_temperature * np.eye(m)
        log_det += (count - 1) * np.linalg.slogdet(within)[1]
    return float(-width * point.value + (m * n_inputs * math.log(width / (2 * math.pi)) - log_det) / 2)
