"""docs/performance.md from results.json."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from benchmarks.performance import comparison, gradient_cost
from benchmarks.performance.cases import Case, grid
from benchmarks.performance.draws import FEWEST_DRAWS

PAGE = Path(__file__).parent.parent.parent / "docs" / "performance.md"
GOAL, GOAL_COLDEST, COLDEST = 10, 100, 1e-6
GRADIENT_GOAL = 2
MAX_RHAT = 1.1
OWN = (comparison.HMC, comparison.FROM_THEORY, comparison.TEMPERED)
Results = dict[str, Any]

INTRODUCTION = """# Performance

Made by `python -m benchmarks.performance` (`make bench` calls it) from `benchmarks/results.json`, which it writes; what
is missing there is measured, so an interrupted run goes on. **On a GPU nothing was measured.**
"""

CONDITIONS = f"""
## How it was measured

All seconds are processor seconds, which another job on the same core changes less than it changes a clock on the wall,
though not to nothing: it takes cache. Every measurement of the comparison is a
process of its own, {comparison.CHAINS} chains from draws of the prior, double precision, compiled loops. Its time begins after
the imports and before anything is compiled.

- **Coordinates** of the rivals are standard normal under the prior, on all weights or on this library's reduced density.
- **Warm-up** of NUTS: NumPyro's and BlackJAX's own (Stan's windows), step size to an acceptance of 0.8 and a diagonal
  metric, trees up to depth ten, 150 transitions. A dense metric would have the square of 10 000 to 30 000 entries.
  MCLMC: its own search for step, length and diagonal metric in 4000 steps; it has no Metropolis correction.
- **Chains** of the rivals run one after the other: on one core a batch makes every tree as long as the longest.
- **Budgets** are for compilation, warm-up and draws together; NumPyro's is four times that of the others, see the
  column "all, s". This library's budget may be exceeded by warm-up and the first draws.
- **ESS/s**: bulk effective draws of the slowest of all kernel blocks, training error and, for images, 30 predictions,
  per second after the warm-up. Toy tasks have no test inputs, so no predictions. A method with fewer than
  {FEWEST_DRAWS} draws gets the bound of one effective draw in its time.
- **Solution**: seconds from the cold start until the means of all kernel blocks over the draws so far are within 2 % of
  the reference and stay there; of blocks between two classes, 2 % of the root of the product of both classes' own blocks.
- **Reference**: a longer run of this library with another seed: `tempered` for erf, one layer, orthogonal inputs, where
  codes freeze and only it exchanges them; `hmc` otherwise. Where `hmc` is compared with `hmc`, agreement says little.
- **Frozen codes**: in sigmoidal networks HMC and NUTS alike keep the codes of their first transitions, chains differ, and
  no number of draws brings them to the reference ([codes at equilibrium](theory/sampling.md#codes-at-equilibrium)).
"""


def write(found: Results) -> None:
    PAGE.write_text(render(found), encoding="utf-8")


def render(found: Results) -> str:
    """The page; what was not measured is named."""
    parts = [
        INTRODUCTION,
        machine(found.get("machine")),
        loads(found.get("comparison", {})),
        comparison_part(found.get("comparison", {})),
        CONDITIONS,
    ]
    parts += [gradient_part(found.get("gradient", {})), growth_part(found.get("growth", {})), CHOICES]
    return "\n".join(part.strip("\n") + "\n" for part in parts if part)


def machine(found: Results | None) -> str:
    if not found:
        return ""
    packages = ", ".join(f"{name} {number}" for name, number in found["packages"].items())
    return f"Machine: {found['processor']}, {found['cores']} core(s); Python {found['python']}, {packages}."


def loads(cases: Results) -> str:
    """How busy the machine was with this and other jobs."""
    seen = [load for case in cases.values() for row in case["methods"].values() for load in row.get("load", ())]
    return f"Its load was {min(seen):.1f} to {max(seen):.1f} while methods were compared." if seen else ""


def table(head: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    head = list(head)
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines) + "\n"


def number(value: float | None, form: str = ".3g") -> str:
    return "-" if value is None else f"{value:{form}}"


# Comparison


def comparison_part(cases: Results) -> str:
    measured = {name: case for name, case in cases.items() if comparison.PEER in case["methods"]}
    goal = (
        f"The goal is at least {GOAL} times NumPyro's NUTS in effective draws per second and in time to solution, "
        f"{GOAL_COLDEST} times at T = {COLDEST:.0e}. Cases that miss it come first. `>`: NumPyro's side is a bound, since it "
        "had no effective draw or no solution in its budget. `*`: chains disagree (R-hat above "
        f"{MAX_RHAT}), so that the number is no rate of independent draws; a goal is not reached by it.\n"
    )
    head = ("case", "method", "ESS/s", "NumPyro", "ratio", "solution, s", "NumPyro", "ratio", "goal")
    lines = sorted((verdict(case) for case in measured.values()), key=lambda line: line[0])
    parts = ["## Against NumPyro's NUTS\n", goal, table(head, (line[1] for line in lines)), not_measured(cases)]
    return "\n".join([*parts, "## All methods\n", *(methods_of(name, case) for name, case in cases.items())])


def verdict(case: Results) -> tuple[float, list[str]]:
    """How far the best of this library's methods is above the goal (below 1: it is missed), and its line of the table."""
    peer = case["methods"][comparison.PEER]
    goal = GOAL_COLDEST if case["temperature"] <= COLDEST else GOAL
    candidates = [(ratios(case["methods"][m], peer), m) for m in OWN if m in case["methods"]]
    (speed, time), method = max(candidates, key=lambda c: (not disagree(case["methods"][c[1]]), min(c[0])))
    own = case["methods"][method]
    margin = 0 if disagree(own) else min(speed, time) / goal
    line = [
        of_results(case).name,
        method,
        rate(own),
        rate(peer),
        bounded(speed, "ess_per_second" not in peer),
        solution(own),
        solution(peer),
        bounded(time, peer.get("time_to_solution") is None),
        "reached" if margin >= 1 else "**missed**" if known(peer) or margin == 0 else "**not shown**",
    ]
    return margin, line


def known(peer: Results) -> bool:
    """Whether both of NumPyro's figures are values, not bounds."""
    return "ess_per_second" in peer and peer.get("time_to_solution") is not None


def ratios(own: Results, peer: Results) -> tuple[float, float]:
    """Of effective draws per second, and of times to solution; 0 where this library has none."""
    speed = own.get("ess_per_second", 0) / peer.get("ess_per_second", peer.get("ess_per_second_below"))
    time = own.get("time_to_solution")
    return speed, (peer.get("time_to_solution") or peer["seconds"]) / time if time else 0


def of_results(case: Results) -> Case:
    return Case(**{field: case[field] for field in Case._fields})


def rate(row: Results) -> str:
    if "ess_per_second" not in row:
        return f"< {row['ess_per_second_below']:.2g}"
    return number(row["ess_per_second"]) + ("*" if disagree(row) else "")


def disagree(row: Results) -> bool:
    """Whether the chains of a method hold different values: its effective draws mean nothing then."""
    return (row.get("max_r_hat") or 0) > MAX_RHAT


def solution(row: Results) -> str:
    time = row.get("time_to_solution")
    return f"> {row['seconds']:.0f}" if time is None else number(time)


def bounded(value: float, bound: bool) -> str:
    return f"{'> ' if bound and value else ''}{value:.3g}"


def not_measured(cases: Results) -> str:
    """Which cases of the grid were measured, temperatures side by side."""
    measured = {name for name, case in cases.items() if comparison.PEER in case["methods"]}
    temperatures = sorted({case.temperature for case in grid()})
    rows = []
    for case in dict.fromkeys(case._replace(temperature=0) for case in grid()):
        row = [case._replace(temperature=t) for t in temperatures]
        marks = ["" if c not in grid() else "measured" if c.name in measured else "not measured" for c in row]
        rows.append([*map(str, (case.activation, case.inputs, case.depth, case.width, case.n_inputs)), *marks])
    missing = sum(case.name not in measured for case in grid())
    head = ("activation", "inputs", "L", "N", "P", *(f"T = {t:.0e}" for t in temperatures))
    return f"Of the {len(grid())} cases of the grid {missing} were **not measured** against NumPyro:\n\n" + table(
        head, rows
    )


def methods_of(name: str, case: Results) -> str:
    reference = case["methods"].get(comparison.REFERENCE)
    head = (
        *("method", "ESS/s", "slowest", "gradients / effective draw", "solution, s"),
        *("bias", "R-hat", "draws", "warm-up, s (transitions)", "all, s"),
    )
    all_methods = comparison.methods(of_results(case))
    rows = [method_line(m, case["methods"][m]) for m in all_methods if m in case["methods"]]
    missing = [m for m in all_methods if m not in case["methods"]]
    text = f"### {name}\n\n"
    if reference:
        text += (
            f"Reference: {reference['method']}, {reference['draws']} draws of each chain in {reference['seconds']:.0f} s, "
            f"largest R-hat {reference['max_r_hat']:.3f}.\n\n"
        )
    return text + table(head, rows) + (f"\nNot measured: {', '.join(missing)}.\n" if missing else "")


def method_line(name: str, row: Results) -> list[str]:
    bias = "-" if row.get("bias") is None else f"{100 * row['bias']:.1f} % ({row['bias_in_errors']:.1f} s.e.)"
    return [
        name,
        rate(row),
        row.get("slowest", "-"),
        number(row.get("gradients_per_effective_draw")),
        solution(row),
        bias,
        number(row.get("max_r_hat"), ".2f"),
        str(row["draws"]),
        f"{row['warmup_seconds']:.3g} ({row['settings']['warmup']})",
        number(row["seconds"]),
    ]


# Gradient cost and growth


def gradient_part(cases: Results) -> str:
    if not cases:
        return "## Cost of a gradient\n\nNot measured."
    products, solves = "products, Cholesky", "products, Cholesky, solves"
    over = {name: case["seconds"]["gradient"] / case["seconds"][products] for name, case in cases.items()}
    rows = []
    for name in sorted(cases, key=lambda name: -over[name]):
        s = cases[name]["seconds"]
        shown = (f"{1e3 * s[kind]:.3g}" for kind in ("gradient", products, solves))
        rows.append([name, *shown, f"{over[name]:.2f}", f"{s['gradient'] / s[solves]:.2f}"])
    missed = [name for name in cases if over[name] > GRADIENT_GOAL]
    text = (
        "## Cost of a gradient\n\n"
        "Log density and gradient of the reduced density, against the bare products of matrices and the Cholesky factor that "
        f"they are made of, in compiled loops side by side in one process (least of {gradient_cost.ROUNDS} rounds). In the "
        "first of the two bare loops the two triangular solves of \\(C^{-1} \\Phi\\) are replaced by one product of the same "
        f"size. The goal is a ratio of at most {GRADIENT_GOAL}; the largest come first.\n\n"
    )
    head = ("case", "gradient, ms", f"{products}, ms", "with solves, ms", "ratio", "ratio, with solves")
    verdict = f"Missed: {'; '.join(missed)}. " if missed else "Reached everywhere. "
    why = "What an erf network has beyond products is erf and its derivative of each neuron on each input, in double precision."
    return text + table(head, rows) + "\n" + verdict + why


def growth_part(found: Results) -> str:
    if not found:
        return "## Growth\n\nNot measured."
    head = ("what grows", "sizes", "ms", "exponent", "of the last two", "MB", "exponent", "of the last two")
    rows = [growth_line(name, series) for name, series in found.items()]
    return (
        "## Growth\n\nTime of a gradient (of all chains, one core, erf) and memory of its program by the compiler's account, "
        "with exponents fitted to all sizes and to the last two.\n\n" + table(head, rows)
    )


def growth_line(name: str, series: Results) -> list[str]:
    def listed(form: Callable[[Results], str]) -> str:
        return ", ".join(map(form, series["rows"]))

    return [
        name,
        listed(lambda r: str(r["size"])),
        listed(lambda r: f"{1e3 * r['seconds']:.3g}"),
        f"{series['exponent of seconds']:.2f}",
        f"{series['last exponent of seconds']:.2f}",
        listed(lambda r: f"{r['megabytes']:.3g}"),
        f"{series['exponent of megabytes']:.2f}",
        f"{series['last exponent of megabytes']:.2f}",
    ]


CHOICES = """
## Choices

Unit metric, pooled step size and trajectory length are explained in [the sampler](theory/sampling.md#method), the
trajectory length with a measurement. Metrics other than the identity and other target rates of acceptance have
**not been measured** here.
"""
