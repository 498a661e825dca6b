"""Time of a gradient of the log density against that of its own matrix products and factorization, in compiled loops."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jax.scipy.linalg import cho_solve

from benchmarks.performance.cases import ACTIVATIONS, Case
from nonlazy.compilation import compiled, double_precision
from nonlazy.posterior import Reduced

SIZES = (100, 200, 500)
DEPTHS = (1, 3)
SECONDS = 0.3
ROUNDS = 3
# Keeps what a pass found in the next one's input, so that no pass can be left out of the loop.
TRACE = 1e-12

Position = tuple[jax.Array, ...]


def gradient_pass(density: Reduced, x: Position) -> Position:
    value, gradient = jax.value_and_grad(density.log_density)(x)
    return jax.tree.map(lambda a, g: a + TRACE * (g + value), x, gradient)


def bare_pass(density: Reduced, x: Position, solves: bool) -> Position:
    """The products and the factorization that the gradient is made of, nothing between them.

    Forward one product a deeper layer, backward two; Phi Phi^T; the Cholesky factor; A A^T Phi. C^-1 Phi is a pair of
    triangular solves, or one product of the same shape if `solves` is false.
    """
    first, *deeper = x
    features = [first]
    for weights in deeper:
        features.append(features[-1] @ weights)
    last, targets = features[-1], jnp.asarray(density.task.targets)
    covariance = TRACE * last @ last.T + jnp.eye(len(last))
    chol = jnp.linalg.cholesky(covariance)
    a = cho_solve((chol, True), targets)
    back = a @ (a.T @ last) + (cho_solve((chol, True), last) if solves else chol @ last)
    by_weights = []
    for below, weights in zip(features[-2::-1], deeper[::-1], strict=True):
        by_weights.append(below.T @ back)
        back = back @ weights.T
    return jax.tree.map(lambda old, new: old + TRACE * new, x, (back, *by_weights[::-1]))


PASSES: dict[str, Callable[[Reduced, Position], Position]] = {
    "gradient": gradient_pass,
    "products, Cholesky": partial(bare_pass, solves=False),
    "products, Cholesky, solves": partial(bare_pass, solves=True),
}


def loop(one_pass: Callable[[Any, Position], Position]) -> Callable[..., Position]:
    """`one_pass` n times in one compiled program."""
    return compiled(lambda density, x, n: jax.lax.fori_loop(0, n, lambda _, x: one_pass(density, x), x))


def seconds(program: Callable[[int], Any]) -> float:
    """Processor seconds of one pass of a program that makes n."""
    once(program, 1)
    n = max(int(SECONDS / max(once(program, 3) / 3, 1e-6)), 3)
    return once(program, n) / n


def once(program: Callable[[int], Any], n: int) -> float:
    began = time.process_time()
    jax.block_until_ready(program(n))
    return time.process_time() - began


@double_precision
def measure(case: Case) -> dict[str, float]:
    """Least processor seconds of a pass of each kind, the kinds in turn."""
    density = case.posterior().reduced
    x = position(density)
    programs = {name: partial(loop(one_pass), density, x) for name, one_pass in PASSES.items()}
    rounds = [{name: seconds(program) for name, program in programs.items()} for _ in range(ROUNDS)]
    return {name: min(r[name] for r in rounds) for name in programs}


def position(density: Reduced, chains: int | None = None) -> Position:
    """A draw of the prior, or several."""
    batch = () if chains is None else (chains,)
    keys = jax.random.split(jax.random.key(0), len(density.shapes))
    return tuple(jax.random.normal(key, (*batch, *shape)) for key, shape in zip(keys, density.shapes, strict=True))


def cases() -> list[Case]:
    return [Case(a, depth, n) for n in SIZES for depth in DEPTHS for a in ACTIVATIONS]
