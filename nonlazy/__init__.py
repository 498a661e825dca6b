"""What do wide neural networks represent after they have learned a task?

Sample the weight posterior of a network in the non-lazy regime, and read its representations.

>>> import nonlazy as nl
>>> task = nl.tasks.orthogonal(n_inputs=12, class_ratios=(0.5, 0.5))
>>> posterior = nl.Posterior(nl.Model(width=20, activation="erf"), task, temperature=1e-3)
>>> tree = nl.sample(posterior, chains=2, warmup=200, draws=100, progress=False)
>>> blocks = tree["posterior"]["kernel_blocks"].mean(["chain", "draw"])
"""

from nonlazy import plot, tasks
from nonlazy.analysis import (
    LogEvidence,
    activity_autocorrelation,
    drift,
    generalization,
    geometry_table,
    learning_curve,
    log_evidence,
)
from nonlazy.codes import code_fractions
from nonlazy.errors import (
    CheckpointError,
    ClusterError,
    ConvergenceError,
    DataWarning,
    FileError,
    InputError,
    NonlazyError,
    SamplingWarning,
)
from nonlazy.estimators import NonLazyClassifier, NonLazyRegressor
from nonlazy.io import load, save
from nonlazy.kernels import kernel_blocks
from nonlazy.model import Model
from nonlazy.posterior import Posterior
from nonlazy.representation import (
    CodingScheme,
    Geometry,
    coding_scheme,
    kernel_alignment,
    kernel_distance,
    kernel_geometry,
)
from nonlazy.sampling import Diagnostics, diagnose, sample
from nonlazy.sweep import sweep
from nonlazy.theory import Theory, solve

__all__ = [
    "CheckpointError",
    "ClusterError",
    "CodingScheme",
    "ConvergenceError",
    "DataWarning",
    "Diagnostics",
    "FileError",
    "Geometry",
    "InputError",
    "LogEvidence",
    "Model",
    "NonLazyClassifier",
    "NonLazyRegressor",
    "NonlazyError",
    "Posterior",
    "SamplingWarning",
    "Theory",
    "activity_autocorrelation",
    "code_fractions",
    "coding_scheme",
    "diagnose",
    "drift",
    "generalization",
    "geometry_table",
    "kernel_alignment",
    "kernel_blocks",
    "kernel_distance",
    "kernel_geometry",
    "learning_curve",
    "load",
    "log_evidence",
    "plot",
    "sample",
    "save",
    "solve",
    "sweep",
    "tasks",
]
