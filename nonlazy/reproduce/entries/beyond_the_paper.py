"""What was not published: schemes of other nonlinearities, codes at other class ratios, and the onset of coding with N T."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import xarray as xr

from nonlazy import plot
from nonlazy.codes import code_fractions
from nonlazy.errors import NonlazyError
from nonlazy.plot.style import class_colour
from nonlazy.posterior import Posterior
from nonlazy.report import Picture
from nonlazy.representation import coding_scheme
from nonlazy.reproduce.claims import Claim, close_to
from nonlazy.reproduce.entry import Entry, Job, Outcome
from nonlazy.reproduce.networks import (
    RATIOS,
    block_contrast,
    draw,
    first_coordinates,
    last_features,
    mean_and_error,
    toy_posterior,
)
from nonlazy.theory import Theory, solve

SCHEMES = ("none", "analog", "redundant", "sparse")


def leaky(slope: float) -> Callable[[Any], Any] | str:
    """ReLU at 0, linear at 1."""
    return {0.0: "relu", 1.0: "linear"}.get(slope, lambda z: jnp.where(z > 0, z, slope * z))


def sigmoid(gain: float) -> Callable[[Any], Any] | str:
    """Nearly linear where the gain is small, a step where it is large."""
    return "erf" if gain == 1 else lambda z: 0.5 * (1 + jax.scipy.special.erf(jnp.sqrt(jnp.pi) * gain * z / 2))


def softplus(sharpness: float) -> Callable[[Any], Any] | str:
    """ReLU where the sharpness is large."""
    return lambda z: jax.nn.softplus(sharpness * z) / sharpness


FAMILIES = {
    "leaky_slope": ("slope of the negative side", leaky),
    "gain": ("gain of the sigmoid", sigmoid),
    "sharpness": ("sharpness of softplus", softplus),
}


def compute(job: Job) -> Outcome:
    outcome = Outcome()
    scheme_map(job, outcome)
    ratio_map(job, outcome)
    onset(job, outcome)
    return outcome


def posterior_of(
    job: Job, activation: Any, ratios: Any = RATIOS, width_temperature: float | None = None, n: int | None = None
) -> Posterior:
    n = n or job.settings["n_inputs"]
    t = job.settings["width_temperature"] if width_temperature is None else width_temperature
    return toy_posterior(activation, 1, n, n, t / n, ratios)


def predicted(job: Job, posterior: Posterior) -> Theory | None:
    """None where the solver does not reach its tolerance."""
    try:
        return solve(posterior, seed=job.seed, progress=False)
    except NonlazyError:
        return None


def scheme_map(job: Job, outcome: Outcome) -> None:
    """Predicted and read coding schemes along each family of nonlinearities."""
    figure, axes = plot.subplots(1, len(FAMILIES), 3.2, 2.4)
    for ax, (family, (label, make)) in zip(axes[0], FAMILIES.items(), strict=True):
        s, found, read = job.settings[family], {}, {}
        for value in s["values"]:
            job.announce(f"theory, {label} {value:g}")
            posterior = posterior_of(job, make(value))
            theory = predicted(job, posterior)
            found[value] = None if theory is None else theory.scheme
            if value in s["sampled"]:
                job.announce(f"sampling, {label} {value:g}")
                read[value] = read_schemes(job, posterior)
        for value, names in read.items():
            words = explanation(job, make(value), found[value], names)
            outcome.claims.append(scheme_claim(label, value, found[value], names, words))
        places = np.arange(len(s["values"]))
        known = [(place, SCHEMES.index(found[v])) for place, v in zip(places, s["values"], strict=True) if found[v]]
        ax.plot(*np.array(known).reshape(-1, 2).T, "_", ms=22, mew=3, color=class_colour(3), label="theory")
        for value, names in read.items():
            heights = [SCHEMES.index(name) for name in names if name in SCHEMES]
            ax.plot([places[s["values"].index(value)]] * len(heights), heights, "o", mfc="none", color="black")
        ax.plot([], [], "o", mfc="none", color="black", label="sampled")
        ax.set_xticks(places, [f"{value:g}" for value in s["values"]])
        ax.set_yticks(range(len(SCHEMES)), SCHEMES)
        ax.set(xlabel=label, ylim=(-0.5, len(SCHEMES) - 0.5), xlim=(-0.5, len(places) - 0.5))
        outcome.numbers[family] = {"values": s["values"], "theory": list(found.values()), "sampled": read}
    axes[0][0].legend(loc="lower right")
    caption = "Coding scheme of one hidden layer along three families of nonlinearities: theory, and sampled networks as read."
    outcome.pictures.append(Picture("scheme-map", "Coding schemes of other nonlinearities", caption, figure))


def read_schemes(job: Job, posterior: Posterior) -> list[str]:
    tree = draw(posterior, job.settings["sampling"], job.seed, keep=())
    return [
        coding_scheme(network[-1], posterior.task.labels, seed=job.seed).name
        for network in last_features(tree, posterior)
    ]


def explanation(job: Job, activation: Any, expected: str | None, names: list[str]) -> str:
    """What else was read, and what larger networks show."""
    if set(names) == {expected}:
        return ""
    n = job.settings["larger_n_inputs"]
    job.announce(f"sampling again at N = P = {n}")
    larger = Counter(read_schemes(job, posterior_of(job, activation, n=n)))
    others, found = sorted(set(names) - {expected}), [f"{name} ({count})" for name, count in larger.items()]
    return f"Also read: {', '.join(others)}. Chains at N = P = {n}: {', '.join(found)}."


def scheme_claim(label: str, value: float, expected: str | None, names: list[str], words: str) -> Claim:
    share = float(np.mean([name == expected for name in names])) if expected else np.nan
    statement = f"{label} {value:g}: sampled networks show the predicted scheme, {expected} (fraction of chains)."
    return close_to(1.0, 0.0, statement, share, explanation=words)


def ratio_map(job: Job, outcome: Outcome) -> None:
    """Fractions of sigmoidal codes as one class grows at the expense of two equal ones."""
    s, found, sampled = job.settings["largest_class"], {}, {}
    for share in s["values"]:
        job.announce(f"theory, largest class {share:g}")
        posterior = posterior_of(job, "erf", (share, (1 - share) / 2, (1 - share) / 2))
        theory = predicted(job, posterior)
        if theory is None:
            continue
        found[share] = theory.code_fractions[-1]
        if share in s["sampled"]:
            job.announce(f"sampling, largest class {share:g}")
            sampled[share] = code_fractions(draw(posterior, job.settings["tempered"], job.seed, method="tempered"))
            outcome.claims.append(ratio_claim(share, found[share], sampled[share]))
    codes = sorted({code for fractions in found.values() for code, value in fractions.items() if value > 0.02})
    figure, axes = plot.subplots(1, 1, 4.6, 3.0)
    ax = axes[0][0]
    for number, code in enumerate(codes):
        look: dict[str, Any] = {"color": class_colour(number)}
        values = [fractions.get(code, 0.0) for fractions in found.values()]
        ax.plot(list(found), values, ls=("-", "--", "-.", ":")[number % 4], label="-".join(code), **look)
        for share, fractions in sampled.items():
            if code in fractions.code.values:
                ax.plot([share], [float(fractions.sel(code=code).mean())], "o^sDv"[number % 5], **look)
    ax.set(xlabel="fraction of inputs in class 0", ylabel="fraction of neurons", ylim=(0, None))
    ax.legend(loc="center left", bbox_to_anchor=(1, 0.5), title="code")
    caption = (
        "Codes of sigmoidal networks against the size of class 0, the others equal: theory (lines), sampled (symbols)."
    )
    outcome.pictures.append(Picture("ratio-map", "Codes and class ratios", caption, figure))
    outcome.numbers["ratios"] = {f"{share:g}": fractions for share, fractions in found.items()}


def ratio_claim(share: float, expected: dict[str, float], found: xr.DataArray) -> Claim:
    code = max(expected, key=lambda name: expected[name])
    values = found.sel(code=code).values if code in found.code.values else np.zeros(found.sizes["chain"])
    statement = f"largest class {share:g}: fraction of code {'-'.join(code)}, by chains that change codes."
    error = float(values.std(ddof=1) / np.sqrt(len(values))) if len(values) > 1 else np.nan
    return close_to(expected[code], 0.08, statement, float(values.mean()), error)


def onset(job: Job, outcome: Outcome) -> None:
    """Class blocks of the kernel as N T falls."""
    s = job.settings["temperatures"]
    figure, axes = plot.subplots(1, 1, 4.6, 3.0)
    ax = axes[0][0]
    for number, activation in enumerate(("erf", "relu")):
        theory, sampled = [], []
        for value in s["values"]:
            job.announce(f"N T = {value:g}, {activation}")
            posterior = posterior_of(job, activation, width_temperature=value)
            found = predicted(job, posterior)
            if found is None:
                continue
            theory.append((value, float(block_contrast(found.kernel_blocks[-1]))))
            if value in s["sampled"] and activation == "erf":
                start = first_coordinates(found, job.settings["sampling"]["chains"])
                tree = draw(posterior, job.settings["sampling"], job.seed, keep=("kernel_blocks",), start=start)
                mean, error = mean_and_error(block_contrast(tree["posterior"]["kernel_blocks"].values[:, :, -1]))
                sampled.append((value, mean, error))
                statement = f"N T = {value:g}, sigmoidal: block contrast of the kernel, chains from the theory."
                outcome.claims.append(close_to(theory[-1][1], 0.05, statement, mean, error))
        look: dict[str, Any] = {"color": class_colour(3 * number)}
        ax.plot(
            *np.array(theory).reshape(-1, 2).T, ls="-" if number == 0 else "--", label=f"{activation}, theory", **look
        )
        if sampled:
            x, y, dy = np.array(sampled).T
            ax.errorbar(x, y, 2 * dy, fmt="o", color="black", capsize=2, label=f"{activation}, sampled")
        outcome.numbers[f"onset, {activation}"] = {"theory": theory, "sampled": sampled}
    ax.set(xscale="log", xlabel="N T", ylabel="block contrast of the kernel", ylim=(0, None))
    ax.legend()
    caption = "Mean kernel within classes minus between classes against the temperature: coding sets in as N T falls."
    outcome.pictures.append(Picture("onset", "Onset of coding", caption, figure))


ENTRY = Entry(
    "beyond-the-paper",
    "Beyond the paper",
    "The theory predicts the scheme of other nonlinearities, the codes at other class ratios, and the temperature at "
    "which coding sets in.",
    "Not published: predictions of the theory beside sampled networks",
    compute,
)
