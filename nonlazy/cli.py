"""The command line."""

from __future__ import annotations

import shlex
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, TypeVar

import typer
from rich.console import Console

from nonlazy import config
from nonlazy.codes_pipeline import CodesFolder, run_codes
from nonlazy.demo import demo as run_demo
from nonlazy.errors import InputError, NonlazyError
from nonlazy.explore import serve
from nonlazy.pipeline import RunFolder, TheoryFolder, run_theory
from nonlazy.pipeline import run as run_pipeline
from nonlazy.reproduce import ENTRIES, chosen, claim_line, summary_line
from nonlazy.reproduce import reproduce as run_reproduce
from nonlazy.sampling import METHODS, diagnose
from nonlazy.sweep.cluster import QUEUES
from nonlazy.sweep.command import Place, run_sweep, show_plan
from nonlazy.sweep.folder import SweepFolder
from nonlazy.validation import one_of

Result = TypeVar("Result")

app = typer.Typer(
    help="What do wide neural networks represent after they have learned a task?",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)

Configuration = Annotated[Path | None, typer.Argument(metavar="CONFIG.toml", help="Configuration file.")]
Preset = Annotated[
    str | None, typer.Option(help=f"A configuration that comes with the library: {', '.join(config.presets())}.")
]
Out = Annotated[Path, typer.Option(help="Folder to write to; a run that was killed goes on from it.")]
Seed = Annotated[int | None, typer.Option(help="Seed of the chains; replaces the configuration's.")]
Quiet = Annotated[bool, typer.Option("--quiet", help="Print nothing but errors.")]


@app.callback()
def _commands() -> None:
    """Give each command a name, whatever number of commands there is."""


@app.command()
def run(
    configuration: Configuration = None,
    preset: Preset = None,
    out: Out = Path("run"),
    seed: Seed = None,
    dynamics: Annotated[
        str | None,
        typer.Option(
            help=f"Dynamics of the chains: {', '.join(METHODS)}; replaces the configuration's sampling.method."
        ),
    ] = None,
    quiet: Quiet = False,
) -> None:
    """Sample a network's posterior and report what it represents, beside what the theory predicts.

    Writes samples.nc, summary.json, report.html and figures/ to the folder given by --out.
    """
    if dynamics is not None:
        one_of("--dynamics", dynamics, METHODS)
    text, source = _configuration(configuration, preset)
    folder = RunFolder(out)
    replaced = {name: value for name, value in (("seed", seed), ("method", dynamics)) if value is not None}
    reproduce = f"nonlazy run {source} --out {out}" + ("" if seed is None else f" --seed {seed}")
    reproduce += "" if dynamics is None else f" --dynamics {dynamics}"
    tree = _interruptible(lambda: run_pipeline(text, source, replaced, folder, not quiet, reproduce), reproduce)
    if not quiet:
        _say(str(diagnose(tree)))
        _say("Wrote " + ", ".join(map(str, (folder.samples, folder.summary, folder.report, folder.figures))))


def _configuration(file: Path | None, preset: str | None) -> tuple[str, str]:
    """Text of the configuration and what names it on the command line."""
    if (file is None) == (preset is None):
        raise InputError("Give either a configuration file or --preset NAME.")
    return (
        (config.read(file), str(file)) if file is not None else (config.read_preset(str(preset)), f"--preset {preset}")
    )


def _say(text: str) -> None:
    Console().print(text, highlight=False, markup=False, soft_wrap=True)


@app.command()
def theory(
    configuration: Configuration = None,
    preset: Preset = None,
    out: Annotated[Path, typer.Option(help="Folder to write to.")] = Path("theory"),
    seed: Annotated[int | None, typer.Option(help="Seed of the solver; replaces the configuration's.")] = None,
    quiet: Quiet = False,
) -> None:
    """Predict kernels, codes and predictors of wide networks without sampling.

    Writes theory.nc, theory.json and figures/ to the folder given by --out.
    """
    text, source = _configuration(configuration, preset)
    folder = TheoryFolder(out)
    again = f"nonlazy theory {source} --out {out}" + ("" if seed is None else f" --seed {seed}")
    found = _interruptible(lambda: run_theory(text, source, seed, folder, not quiet), again)
    if not quiet:
        _say(str(found))
        _say("Wrote " + ", ".join(map(str, (folder.dataset, folder.summary, folder.figures))))


@app.command()
def codes(
    file: Annotated[
        Path, typer.Argument(metavar="FILE", help="Activations and labels: .npz, .npy, .h5, .csv, samples.nc.")
    ],
    out: Annotated[Path, typer.Option(help="Folder to write to.")] = Path("codes"),
    labels: Annotated[
        str | None,
        typer.Option(metavar="NAME|FILE", help="Name of the labels in the file, or an .npy file of their own."),
    ] = None,
    activations: Annotated[
        str | None, typer.Option(metavar="NAME", help="Name of the activations in the file.")
    ] = None,
    inputs: Annotated[
        str | None,
        typer.Option(metavar="NAME|FILE", help="What the network was shown: its random features are one more null."),
    ] = None,
    seed: Annotated[int, typer.Option(help="Seed of the permutations and simulations of the tests.")] = 0,
    quiet: Quiet = False,
) -> None:
    """Read the coding scheme of a population of neurons from activations of any origin.

    Writes codes.json, neurons.csv, report.html and figures/ to the folder given by --out.
    """
    folder = CodesFolder(out)
    options = {"--labels": labels, "--activations": activations, "--inputs": inputs, "--out": out, "--seed": seed}
    again = _command("codes", file, options)
    readings = _interruptible(
        lambda: run_codes(file, activations, labels, inputs, seed, folder, not quiet, again),
        again,
        "nothing is kept. Start again",
    )
    if not quiet:
        for reading in readings:
            _say(f"{reading.name}: {reading.scheme}")
        _say("Wrote " + ", ".join(map(str, (folder.summary, folder.neurons, folder.report, folder.figures))))


@app.command()
def sweep(
    file: Annotated[Path, typer.Argument(metavar="SWEEP.toml", help="Configuration with a table of axes.")],
    out: Annotated[Path, typer.Option(help="Folder to write to; a second call computes what is missing.")] = Path(
        "sweep"
    ),
    workers: Annotated[
        int | None, typer.Option(help="Worker processes, one for each core by default; 0 computes in this process.")
    ] = None,
    scheduler: Annotated[
        str | None, typer.Option(metavar="ADDRESS", help="A Dask scheduler to use in place of processes here.")
    ] = None,
    cluster: Annotated[
        str | None, typer.Option(metavar="NAME", help=f"Workers are jobs of a queueing system: {', '.join(QUEUES)}.")
    ] = None,
    cluster_options: Annotated[
        Path | None, typer.Option(metavar="FILE.toml", help="Options of its jobs, as dask-jobqueue names them.")
    ] = None,
    retry_failed: Annotated[bool, typer.Option("--retry-failed", help="Compute points that failed again.")] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Only print the points, and an estimate of time and memory.")
    ] = False,
    seed: Seed = None,
    quiet: Quiet = False,
) -> None:
    """Sample and solve the theory at many configurations, on all cores or a cluster.

    Writes results.nc, table.csv and points/ to the folder given by --out.
    """
    place = Place(workers, scheduler, cluster, cluster_options)
    if dry_run:
        show_plan(file, out, place, seed, retry_failed, not quiet, _say)
        return
    options = {"--out": out, "--workers": workers, "--scheduler": scheduler, "--cluster": cluster}
    options |= {"--cluster-options": cluster_options, "--seed": seed}
    again = _command("sweep", file, options)
    failed = _interruptible(
        lambda: run_sweep(file, out, place, seed, retry_failed, not quiet), again, "finished points are kept. Go on"
    )
    folder = SweepFolder(out)
    if not quiet:
        _say("Wrote " + ", ".join(map(str, (folder.dataset, folder.table, folder.points))))
    if failed:
        print(
            f"{failed} points failed, see {folder.table}. Try them again with: {again} --retry-failed", file=sys.stderr
        )
        raise typer.Exit(1)


def _command(name: str, file: Path, options: dict[str, Any]) -> str:
    """The command line with the options that were given."""
    words = [word for option, value in options.items() if value is not None for word in (option, str(value))]
    return shlex.join(["nonlazy", name, str(file), *words])


@app.command()
def demo(out: Out = Path("demo"), seed: Seed = None, quiet: Quiet = False) -> None:
    """Sample the three toy networks and MNIST, and write a page that links their reports."""
    console = Console(quiet=quiet)
    again = f"nonlazy demo --out {out}" + ("" if seed is None else f" --seed {seed}")
    index = _interruptible(lambda: run_demo(out, seed, not quiet, console.print), again)
    if not quiet:
        _say(f"Open {index.resolve()}")


@app.command()
def reproduce(
    names: Annotated[list[str] | None, typer.Argument(metavar="[NAME]...", help="Entries; --list shows them.")] = None,
    everything: Annotated[bool, typer.Option("--all", help="All entries; cifar10 only with --data.")] = False,
    listed: Annotated[bool, typer.Option("--list", help="Show the entries, their claims and sources.")] = False,
    out: Annotated[Path, typer.Option(help="Folder to write to; finished entries in it are kept.")] = Path("reproduce"),
    quick: Annotated[bool, typer.Option("--quick", help="Small sizes, under three minutes an entry.")] = False,
    seed: Annotated[int, typer.Option(help="Seed of everything that is drawn.")] = 0,
    data: Annotated[
        Path | None, typer.Option(metavar="PATH", help="CIFAR-10: an .npz file or cifar-10-batches-py.")
    ] = None,
    quiet: Quiet = False,
) -> None:
    """Compute published figures again, with a verdict and numbers for each claim.

    Writes a folder with result.json and figures/ for each entry, and index.html, to the folder given by --out.
    """
    if listed:
        for entry in ENTRIES.values():
            _say(f"{entry.name}: {entry.title}\n  {entry.claim}\n  Source: {entry.source}.")
        return
    entries = chosen(names or [], everything, data)
    options = ["--quick"] * quick + ["--seed", str(seed)] * (seed > 0) + ["--data", str(data)] * (data is not None)
    words = ["--all"] if everything else [entry.name for entry in entries]
    again = shlex.join(["nonlazy", "reproduce", *words, "--out", str(out), *options])

    def announce(result: dict[str, Any], computed: bool) -> None:
        if not quiet:
            _say(summary_line(result) + ("" if computed else ", kept from an earlier call"))
            for claim in result["claims"]:
                _say(claim_line(claim))

    size = "quick" if quick else "full"
    _interruptible(
        lambda: run_reproduce(entries, out, size, seed, data, not quiet, announce),
        again,
        "finished entries are kept. Go on",
    )
    if not quiet:
        _say(
            f"Wrote {out / 'index.html'}, and result.json and figures/ in {', '.join(str(out / e.name) for e in entries)}"
        )


@app.command()
def explore(
    port: Annotated[int, typer.Option(help="Port to serve the page on; 0 picks a free one.")] = 0,
    no_browser: Annotated[
        bool, typer.Option("--no-browser", help="Print the address without opening a browser.")
    ] = False,
) -> None:
    """Explore the theory with sliders on a local web page, and lay a sampled network over it.

    Serves this machine alone, without any network, until Ctrl-C.
    """
    serve(port, not no_browser, lambda address: _say(f"Open {address}\nCtrl-C ends it."))


def _interruptible(work: Callable[[], Result], again: str, advice: str = "what was drawn is kept. Go on") -> Result:
    # SIGTERM, which clusters send, is treated like Ctrl-C.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        return work()
    except KeyboardInterrupt:
        print(f"Interrupted; {advice} with: {again}", file=sys.stderr)
        raise typer.Exit(130) from None


def main() -> None:
    """Entry point: errors of the library become one sentence on standard error."""
    try:
        app()
    except NonlazyError as error:
        print(f"nonlazy: {error}", file=sys.stderr)
        sys.exit(2)
