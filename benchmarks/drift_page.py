"""The page and the figure of drift, from stored results."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from nonlazy import plot

DOCS = Path(__file__).parent.parent / "docs"
FIGURE = DOCS / "images" / "drift.png"
DYNAMICS = {"langevin": "Langevin", "hmc": "Hamiltonian"}
INTRODUCTION = r"""# Drift of single neurons

A population can represent the same while its neurons exchange what they do. `nl.drift` says how much single neurons moved
between the first and the last draw of a chain, and what of that is left once neurons may be relabelled:

\[ x_{ic} = A_{ic} - \tfrac1C \sum_{c'} A_{ic'}, \qquad y_{ic} = x_{ic} - \tfrac1N \sum_j x_{jc}, \qquad
   d = 1 - \frac{\sum_{ic} y_{ic}(0)\, y_{ic}(t)}{\sqrt{\sum_{ic} y_{ic}(0)^2\, \sum_{ic} y_{ic}(t)^2}} \]

with the mean activity \(A_{ic}\) of neuron i on class c. What a neuron does for all classes alike is taken away, since it
tells nothing about them; then what all neurons do alike, since it would look like memory when neurons are exchanged.
d = 0: no neuron moved; \(d = 1 \pm 1/\sqrt{N - 1}\): no memory is left.

A neuron counts by its share of the task-related kernel. That is meant for sparse coding: a few outliers carry the classes, and
if they stay, the representation stays, whatever the bulk does. `participation` says how many neurons d speaks of,
`drift_of_all` what d is if all neurons count the same.

```python
import numpy as np
import nonlazy as nl

posterior = nl.Posterior(nl.Model(width=16, activation="linear"), nl.tasks.orthogonal(n_inputs=16), temperature=1e-2)
tree = nl.sample(posterior, chains=2, warmup=100, draws=50, progress=False)
found = nl.drift(tree)
print(found.values, found.matched_drift.values, found.attrs["unit_of_time"])
```

## Dynamics with a time

Draws of most methods have an order but no time. `method="langevin"` draws from overdamped Langevin dynamics, gradient
ascent on the log posterior with noise,

\[ d\theta = \nabla \log p(\theta)\, dt + \sqrt{2}\, dB , \]

of all weights in units of their prior standard deviations: a direction that the data leave free relaxes like \(e^{-t}\). Steps
are tuned in warm-up to an acceptance of 0.97 and corrected, so that the posterior is exactly stationary; the time of the
accepted ones is in `sample_stats/time`. (`parametrization="reduced"` lets the hidden weights move in the mean force of the
readout.) At low temperature the steps are short, \(t\) of \(10^{-5}\) to \(10^{-3}\) a transition below: the
way from the prior is long. Start from draws of a faster method, or with `start="theory"`:

```python
hmc = nl.sample(posterior, chains=2, warmup=100, draws=1, keep=("readout", "weights"), progress=False)
last = hmc["posterior"].to_dataset().isel(draw=-1)
# One hidden layer; deeper ones put deeper_weights[:, layer] between the two.
start = [last["first_weights"], last["readout"] / posterior.readout_variance**0.5]
tree = nl.sample(posterior, chains=2, warmup=200, draws=100, method="langevin", thin=10, start=start, progress=False)
course = nl.activity_autocorrelation(tree)
print(course["time"].values[0, -1], course["correlation"].values[0, 0, [0, 50, -1]])
```

On the command line, `nonlazy run CONFIG.toml --dynamics langevin`, or in the configuration, here with a long way from
the prior:

```toml
temperature = 1e-2

[task]
name = "orthogonal"
n_inputs = 40

[model]
width = 40

[sampling]
method = "langevin"
warmup = 5000
draws = 200
thin = 100
```

The report of every run shows first and last class activities, the last ones matched, and the correlation in time.

## What was published, and what is seen here

Three classes 1/2, 1/4, 1/4, orthogonal inputs, N = P = 64, four chains. They begin at the prior, make 500 transitions of
Hamiltonian Monte Carlo, 100 more whose drift is measured, and then go on by Langevin dynamics for 100 draws.
`benchmarks/drift.py` makes this section. Errors are standard errors over the four chains.

Published (van Meegen and Sompolinsky, 2025): in linear networks all layers drift; in ReLU networks none; in sigmoidal
ones all but the last, where code fractions persist while neurons exchange codes.
"""
FINDINGS = r"""**Linear: holds.** All layers drift: to independence within 100 Hamiltonian transitions, to 0.77, 0.88 and
0.84 in a time of 9 of Langevin dynamics, where the correlation of the first layer falls to 1/e in a time of 6, those of
the second and third in 4.5.

**Sigmoidal: holds.** Not one neuron of the last layer changes its code in a time of 34 or in 100 Hamiltonian transitions. The
first two layers drift, slowly: at a time of 34, 0.66 and 0.18. Matched to the best, 0.03 and 0.02 of this are left, and code
fractions changed by 0.11 and 0.07 in total variation, where two independent draws of 64 neurons with six
equally common codes differ by 0.16. So neurons exchange codes. (The match alone proves little
at this width: independent populations of the linear network are brought down to 0.06 by it.) Those of the last layer
are frozen as the start left them, see
[codes are frozen](../howto/read-the-warnings.md#codes-are-frozen): that they stay does not show that their fractions are
at equilibrium.

**ReLU, L = 1: holds for the neurons that carry the code.** The participation ratio is 3.05: one outlier for each class, and
they stay, d = 0.03 with both dynamics. The bulk does drift: 0.9 if all neurons count the same.

**ReLU, L = 3: does not hold here above the first layer.** In the first layer three to four outliers stay (d = 0.2 to
0.3). In the second and third the task-related kernel is shared by some eight to twenty neurons instead of three, and
these drift to independence within 100 Hamiltonian transitions, at \(T = 10^{-3}\) and at \(10^{-4}\). At \(10^{-4}\) Langevin
dynamics got no further than a time of 0.7, too short to show it. Single runs of two chains, not in the table, say the
same: N = P = 100 (drift of the layers 0.23, 1.0, 1.1), and a readout variance of \(1/P\) in place of \(P^{-1/3}\) (0.2, 1.0,
1.1). The published networks had one coding neuron per class in the last layer, at a temperature and prior width that
are not published. No chain here came to outliers that few above the first layer, so that their drift was not seen.

All chains began at the prior. Widths other than 64 were tried for ReLU only.
"""


def write_page(results: dict[str, Any]) -> None:
    """Write docs/theory/drift.md and its figure."""
    _figure(results)
    figure = (
        "![Correlation of class activities in time](../images/drift.png)\n\n*Correlation of class activities with the "
        "time between two draws of Langevin dynamics: mean over chains (thick), chains (thin).*\n"
    )
    parts = [INTRODUCTION, FINDINGS, figure, _table(results)]
    (DOCS / "theory" / "drift.md").write_text("\n".join(parts), encoding="utf-8")


def _title(case: dict[str, Any]) -> str:
    start = ", start from theory" if case["start"] == "theory" else ""
    return f"{case['activation']}, L = {case['depth']}, T = {case['temperature']:g}{start}"


def _table(results: dict[str, Any]) -> str:
    header = ["network", "dynamics", "time", "layer", "drift", "of all", "matched", "participation", "codes kept"]
    header += ["by chance", "code change"]
    columns = ["drift", "drift_of_all", "matched_drift", "participation", "codes_kept", "codes_kept_by_chance"]
    columns += ["code_change"]
    lines = [header, ["---"] * len(header)]
    for case in results.values():
        for dynamics, name in DYNAMICS.items():
            found = case[dynamics]
            unit = "" if dynamics == "langevin" else " transitions"
            for layer in range(case["depth"]):
                values = [np.array(found[column])[:, layer] for column in columns]
                row = [_title(case), name, f"{np.mean(found['time']):.3g}{unit}", str(layer + 1)]
                lines.append([*row, *map(_with_error, values)])
    return "\n".join("| " + " | ".join(line) + " |" for line in lines) + "\n"


def _with_error(values: np.ndarray) -> str:
    digits = 1 if values.mean() > 2 else 2
    return f"{values.mean():.{digits}f} ± {values.std(ddof=1) / np.sqrt(len(values)):.{digits}f}"


def _figure(results: dict[str, Any]) -> None:
    with plot.style():
        rows = -(-len(results) // 3)
        figure, axes = plot.subplots(rows, min(len(results), 3), 2.9, 2.5)
        panels = [ax for row in axes for ax in row]
        for ax, case in zip(panels, results.values(), strict=False):
            found = case["langevin"]
            correlation = np.array(found["correlation"])
            time = np.broadcast_to(found["times"], (len(correlation), len(found["times"])))
            plot.activity_autocorrelation(time, correlation, "Langevin time", ax).set_title(_title(case))
            ax.set(xlabel="", ylabel="")
        for ax in panels[len(results) :]:
            ax.set_visible(False)
        figure.supxlabel("time between two draws", fontsize=9)
        figure.supylabel("correlation of class activities", fontsize=9)
        figure.savefig(FIGURE)
