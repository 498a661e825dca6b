"""Methods against each other on each case, every measurement in a process of its own so that each start is a cold one."""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from typing import Any

from benchmarks.performance.cases import Case

REFERENCE = "reference"
HMC, NUTS, MCLMC = "nonlazy hmc", "nonlazy nuts", "nonlazy mclmc"
FROM_THEORY, TEMPERED = "nonlazy hmc from the theory", "nonlazy tempered"
PEER = "NumPyro NUTS, all weights"
RIVALS = (
    PEER,
    "BlackJAX NUTS, all weights",
    "BlackJAX MCLMC, all weights",
    "BlackJAX NUTS, reduced",
    "BlackJAX MCLMC, reduced",
)
CHAINS = 2
# Budgets in units of that of all others: the reference is a longer run, and NumPyro shall finish its warm-up.
LONGER = {REFERENCE: 2, PEER: 4}


def methods(case: Case) -> tuple[str, ...]:
    """All methods of a case, in the order of measurement."""
    special = (FROM_THEORY, TEMPERED) if has_path(case) else ()
    return (HMC, RIVALS[0], *special, *RIVALS[1:], NUTS, MCLMC)


def has_path(case: Case) -> bool:
    """Whether codes freeze and `tempered` can exchange them."""
    return case.activation == "erf" and case.depth == 1 and case.inputs == "toy"


def measure_one(case: Case, method: str, budget: float, reference: dict[str, Any] | None) -> dict[str, Any]:
    """One method on one case, in this process."""
    from benchmarks.performance import draws, own, rivals

    posterior = case.posterior()
    if method == REFERENCE:
        name = "tempered" if has_path(case) else "hmc"
        drawn = own.draw(posterior, name, budget, CHAINS, seed=100)
        return draws.reference_of(drawn) | {"method": name}
    if method in rivals.RIVALS:
        drawn = rivals.draw(posterior, method, budget, CHAINS, seed=1)
    elif method == FROM_THEORY:
        drawn = own.draw(posterior, "hmc", budget, CHAINS, seed=1, start="theory")
    else:
        drawn = own.draw(posterior, method.removeprefix("nonlazy "), budget, CHAINS, seed=1)
    return draws.summary(drawn, reference)


def cold(function: Callable[..., dict[str, Any]], *arguments: Any) -> dict[str, Any]:
    """The result of a function called in a new process, with the load of the machine before and after."""
    before = os.getloadavg()[0]
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
        found = pool.submit(function, *arguments).result()
    return found | {"load": [before, os.getloadavg()[0]]}


def measure(
    case: Case, chosen: tuple[str, ...], budget: float, found: dict[str, Any], again: Callable[[], None]
) -> None:
    """Fill in what a case lacks: the reference, then the chosen methods; `again` saves after each."""
    for method in (REFERENCE, *(m for m in methods(case) if m in chosen)):
        if method in found:
            continue
        spent = LONGER.get(method, 1) * budget
        found[method] = {"budget": spent} | cold(measure_one, case, method, spent, found.get(REFERENCE))
        again()
        shown = {k: v for k, v in found[method].items() if k not in ("means", "errors")}
        print(f"{case.name}: {method}: {shown}", flush=True)
