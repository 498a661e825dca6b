"""A simulated recording: spike counts of 80 cells in few trials, and how many trials it takes to read their code."""

import numpy as np

import nonlazy as nl

generator = np.random.default_rng(0)
# Each cell fires for one of four subsets of four odours, with a rate of its own, and shares slow changes of excitability.
codes = generator.permutation(np.repeat([[1, 1, 0, 0], [0, 1, 1, 0], [0, 0, 1, 1], [1, 0, 0, 1]], 20, axis=0))
rates = generator.uniform(6, 12, (80, 1)) * (0.2 + 0.8 * codes)

for n_trials in (2, 5, 10, 20):
    odours = np.repeat(["apple", "banana", "coffee", "mint"], n_trials)
    excitability = np.exp(0.2 * generator.standard_normal((len(odours), 1)))
    counts = generator.poisson(excitability * np.repeat(rates, n_trials, axis=1).T)
    # Cells with high rates should not count more than others.
    recording = counts / np.maximum(counts.std(axis=0), 1e-9)
    scheme = nl.coding_scheme(recording, odours)
    found = ", ".join(f"{code.name} {100 * code.fraction:.0f} ± {100 * code.error:.0f} %" for code in scheme.codes[:4])
    print(f"{n_trials} trials of each odour: {scheme.name}. {scheme.reason} {found}")
