"""The page: sliders on the left, theory and sampled network on the right. It computes nothing itself."""

from __future__ import annotations

import asyncio
import io
import threading
from collections.abc import Callable
from typing import Any

import panel as pn
from jinja2 import Environment, PackageLoader
from matplotlib.figure import Figure

from nonlazy.errors import NonlazyError
from nonlazy.explore import figures
from nonlazy.explore.model import MOST_CODES, Prediction, Sampled, SamplingCancelledError, code_rows, predict, sample
from nonlazy.explore.settings import ACTIVATIONS, Settings
from nonlazy.model import REGIMES

# Seconds in which further moves of a slider replace the last one.
DEBOUNCE = 0.15
SECONDS_BETWEEN_REPORTS = 0.3
RESOLUTION = 110

# Autoescape: whatever a message quotes is shown as text.
_environment = Environment(
    loader=PackageLoader("nonlazy.explore"), autoescape=True, trim_blocks=True, lstrip_blocks=True
)
STYLE = """
table.codes { border-collapse: collapse; font-variant-numeric: tabular-nums; margin: .5em 0; }
table.codes th, table.codes td { padding: .15em .9em .15em 0; text-align: left; border-bottom: 1px solid #ddd; }
p { margin: .4em 0; max-width: 62em; }
p.message { border-left: 4px solid #d55e00; padding: .2em .7em; background: #fdf3ea; }
"""
Maker = Callable[[Prediction, Sampled | None], Figure | None]
FIGURES: tuple[Maker, ...] = (figures.kernels, figures.codes, figures.readout, figures.activities)
# The style of figures is set for the whole process.
_drawing = threading.Lock()


def page(stopped: threading.Event) -> pn.Row:
    """A page for one visitor; `stopped` is set when the server ends."""
    return Page(stopped).layout


class Page:
    """Widgets, what they show, and the computations under way."""

    def __init__(self, stopped: threading.Event) -> None:
        # Panel's values are optional by type.
        slider: Any = pn.widgets.FloatSlider
        number: Any = pn.widgets.IntSlider
        self.n_classes = pn.widgets.RadioButtonGroup(name="classes", options={"2 classes": 2, "3 classes": 3}, value=3)
        self.first = slider(name="class 0, of all inputs", start=0.02, end=0.98, step=0.01, value=0.5)
        self.second = slider(name="class 1, of the others", start=0.02, end=0.98, step=0.01, value=0.5)
        self.ratios = pn.pane.HTML()
        self.activation = pn.widgets.Select(name="nonlinearity φ(g z)", options=list(ACTIVATIONS), value="erf")
        self.gain = slider(name="gain g", start=0.3, end=3, step=0.05, value=1)
        self.readout_std = slider(name="readout prior s_a", start=0.3, end=3, step=0.05, value=1)
        self.log_temperature = slider(name="log10 of the temperature T", start=-8, end=0, step=0.25, value=-5)
        self.n_inputs = number(name="inputs P", start=10, end=200, step=5, value=100)
        self.width = number(name="neurons N", start=10, end=200, step=5, value=100)
        self.regime = pn.widgets.Select(name="regime", options=list(REGIMES), value="nonlazy")
        self.sample_button = pn.widgets.Button(name="Sample a network", button_type="primary", disabled=True)
        self.cancel_button = pn.widgets.Button(name="Cancel", disabled=True)
        self.progress = pn.indicators.Progress(value=0, max=100, active=False, sizing_mode="stretch_width")
        self.status = pn.pane.HTML()
        self.outcome = pn.pane.HTML(stylesheets=[STYLE], sizing_mode="stretch_width")
        names = [maker.__name__ for maker in FIGURES]
        self.pictures = [pn.pane.PNG(alt_text=name, height=300) for name in names]
        self.prediction: Prediction | None = None
        self.stopped, self.cancelled = stopped, threading.Event()
        self.stale = self.computing = False
        self._connect()

    def _connect(self) -> None:
        for widget in self._inputs:
            widget.param.watch(self._update, "value")
        self.sample_button.on_click(self._sample)
        self.cancel_button.on_click(lambda _: self.cancelled.set())
        pn.state.onload(self._update)
        pn.state.on_session_destroyed(lambda _: self.cancelled.set())

    @property
    def _inputs(self) -> list[Any]:
        return [
            self.n_classes, self.first, self.second, self.activation, self.gain, self.readout_std, self.log_temperature,
            self.n_inputs, self.width, self.regime,
        ]  # fmt: skip

    @property
    def layout(self) -> pn.Row:
        # None of Panel's templates: their style sheets ask for fonts from the web.
        ratios = [self.n_classes, self.first, self.second, self.ratios]
        buttons = pn.Row(self.sample_button, self.cancel_button)
        return pn.Row(
            pn.Column(*ratios, *self._inputs[3:], buttons, self.progress, self.status, width=300),
            pn.Column(self.outcome, pn.FlexBox(*self.pictures), sizing_mode="stretch_width", margin=(0, 0, 0, 24)),
        )

    @property
    def settings(self) -> Settings:
        """What the widgets say."""
        return Settings(
            self.first.value,
            self.second.value if self.n_classes.value == 3 else None,
            self.activation.value,
            self.gain.value,
            self.readout_std.value,
            self.log_temperature.value,
            self.n_inputs.value,
            self.width.value,
            self.regime.value,
        )

    async def _update(self, *_: Any) -> None:
        """Follow the widgets; of changes that come while the theory is computed only the last counts."""
        # A network sampled at other settings must not be shown at these.
        self.cancelled.set()
        self.stale = True
        if self.computing:
            return
        self.computing, self.sample_button.disabled = True, True
        try:
            while self.stale:
                await asyncio.sleep(DEBOUNCE)
                self.stale = False
                settings = self.settings
                self.second.visible = settings.second is not None
                self.ratios.object = "class ratios " + " : ".join(f"{ratio:.3g}" for ratio in settings.class_ratios)
                self.status.object = "computing the theory …"
                await self._show(await asyncio.to_thread(predict, settings), None)
        finally:
            self.computing = False
        self.status.object = ""
        self.sample_button.disabled = self.prediction is None

    async def _sample(self, _: Any) -> None:
        """Sample a network, unless it is cancelled or a widget moves."""
        prediction, cancelled = self.prediction, threading.Event()
        if prediction is None:
            return
        self.cancelled, self.sample_button.disabled, self.cancel_button.disabled = cancelled, True, False
        under_way: list[Any] = ["compiling", 0.0]

        def report(phase: str, done: float) -> None:
            if cancelled.is_set() or self.stopped.is_set():
                raise SamplingCancelledError
            under_way[:] = phase, done

        job = asyncio.create_task(asyncio.to_thread(sample, prediction, report))
        self.progress.active = True
        while not (await asyncio.wait([job], timeout=SECONDS_BETWEEN_REPORTS))[0]:
            self.status.object = "cancelling …" if cancelled.is_set() else f"sampling: {under_way[0]} …"
            self.progress.value = int(100 * under_way[1])
        self.progress.value, self.progress.active, self.cancel_button.disabled = 0, False, True
        try:
            sampled = job.result()
        except SamplingCancelledError:
            self.status.object = "Sampling was cancelled."
        except NonlazyError as error:
            self.status.object = _message(str(error))
        else:
            if not cancelled.is_set():
                self.status.object = "drawing …"
                await self._show(prediction, sampled)
                self.status.object = ""
        finally:
            self.sample_button.disabled = self.computing or self.prediction is None

    async def _show(self, outcome: Prediction | str, sampled: Sampled | None) -> None:
        """Words and table at once, figures when they are drawn."""
        self.prediction = None if isinstance(outcome, str) else outcome
        self.outcome.object = _message(outcome) if isinstance(outcome, str) else _words(outcome, sampled)
        for pane, maker in zip(self.pictures, FIGURES, strict=True):
            picture = None if isinstance(outcome, str) else await asyncio.to_thread(_png, maker, outcome, sampled)
            pane.object, pane.visible = picture, picture is not None


def _message(text: str) -> str:
    return _environment.get_template("outcome.html.j2").render(refusal=text)


def _words(prediction: Prediction, sampled: Sampled | None) -> str:
    theory = prediction.theory
    return _environment.get_template("outcome.html.j2").render(
        theory=theory,
        rows=code_rows(theory),
        more=len(theory.codes) - MOST_CODES,
        notes=prediction.notes,
        sampled=sampled,
    )


def _png(maker: Maker, prediction: Prediction, sampled: Sampled | None) -> bytes | None:
    with _drawing:
        figure, buffer = maker(prediction, sampled), io.BytesIO()
        if figure is None:
            return None
        figure.savefig(buffer, format="png", dpi=RESOLUTION)
        return buffer.getvalue()
