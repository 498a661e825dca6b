"""The explorer: its computations without a browser, its server, and the page in a browser."""

from __future__ import annotations

import http.client
import os
import re
import signal
import subprocess
import sys
import threading
import time

import numpy as np
import pytest
from browser import chromium, needs_chromium, requested
from commands import call

import nonlazy as nl
from nonlazy.explore import ACTIVATIONS, SamplingCancelledError, Settings, figures, model, predict, sample, server

SMALL = {"n_inputs": 20, "width": 20, "log_temperature": -4.0}


def test_class_ratios_always_sum_to_one():
    assert Settings().class_ratios == (0.5, 0.25, 0.25)
    for first in np.linspace(0.02, 0.98, 9):
        assert sum(Settings(first=first, second=None).class_ratios) == pytest.approx(1)
        for second in np.linspace(0.02, 0.98, 9):
            ratios = Settings(first=first, second=second).class_ratios
            assert sum(ratios) == pytest.approx(1)
            assert min(ratios) > 0


def test_reference_values():
    """docs of the theory: the toy task at P = N = 100, T = 1e-5."""
    rows = model.code_rows(predict(Settings()).theory)
    assert [(row.code, row.fraction) for row in rows] == [
        ("1-1-0", "0.331"), ("1-0-1", "0.331"), ("0-1-1", "0.325"), ("1-0-0", "0.013"),
    ]  # fmt: skip
    assert rows[2].readout == "-1.68, 1.61, 1.61"
    assert rows[2].activity == "0.05, 0.96, 0.96"


def test_outliers_are_rows_of_the_table():
    found = predict(Settings(activation="relu", **SMALL))
    bulk, *outliers = model.code_rows(found.theory)
    assert (bulk.code, bulk.fraction) == ("0-0-0", "1.000")
    assert [row.fraction for row in outliers] == ["1 of 20"] * 3
    # Each outlier neuron is active for one class: strength |y - b| / (s_a sqrt(p)) of the theory, times N.
    activities = np.array([[float(x) for x in row.activity.split(", ")] for row in outliers])
    assert ((activities > 1).sum(axis=1) == 1).all()
    np.testing.assert_allclose(
        np.sort(activities.max(axis=1) ** 2) / 20, np.sort(found.theory.outliers.activity.max(axis=1) ** 2), rtol=0.01
    )


def test_gain_is_the_activation_of_a_multiple():
    gain = 2.0

    def of_a_multiple(z):
        return nl.activations.tanh(gain * z)

    posterior = Settings(activation="tanh", gain=gain, **SMALL).posterior()
    task = nl.tasks.orthogonal(n_inputs=20)
    other = nl.Posterior(nl.Model(width=20, activation=of_a_multiple), task, temperature=1e-4)
    found, expected = (nl.solve(p, n_nodes=2**11) for p in (posterior, other))
    np.testing.assert_allclose(found.kernel_blocks, expected.kernel_blocks, atol=2e-3)


@pytest.mark.parametrize(("activation", "regime"), [*((name, "nonlazy") for name in ACTIVATIONS), ("erf", "lazy")])
def test_every_choice_has_a_picture(activation, regime):
    found = predict(Settings(activation=activation, regime=regime, second=None, **SMALL))
    assert found.features.shape == (20, 20)
    assert np.isfinite(found.readout).all()
    assert found.notes == ()
    for maker in (figures.kernels, figures.readout, figures.activities):
        assert maker(found, None).axes
    assert (figures.codes(found, None) is not None) == any(found.theory.code_fractions)


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"first": 0.98, "second": 0.98, "n_inputs": 20}, "every class an input"),
        ({"first": 1.0}, "strictly between 0 and 1"),
        ({"second": 0.0}, "second must be a finite number greater than 0"),
        ({"gain": 0.0}, "weight_std must be a finite number greater than 0"),
        ({"gain": float("nan")}, "weight_std"),
        ({"log_temperature": 1e9}, "log_temperature must lie between"),
        ({"activation": "<script>"}, "activation must be one of"),
        ({"width": 0}, "width must be an integer of at least 1"),
    ],
)
def test_extreme_values_give_one_sentence(values, words):
    found = predict(Settings(**values))
    assert isinstance(found, str)
    assert words in found


def test_too_few_nodes_are_one_sentence():
    with pytest.raises(nl.InputError, match="n_nodes must be an integer of at least 64, got 1"):
        nl.solve(Settings().posterior(), n_nodes=1)


def test_notes_are_in_plain_words():
    found = predict(Settings(n_inputs=20, width=20, log_temperature=-1.0))
    assert any("N T = 2 is not small" in note for note in found.notes)


@pytest.fixture
def short(monkeypatch):
    monkeypatch.setattr(model, "WARMUP", 30)
    monkeypatch.setattr(model, "DRAWS", 20)


@pytest.mark.slow
@pytest.mark.usefixtures("few_simulations", "short")
def test_a_sample_is_read_and_compared():
    prediction, reports = predict(Settings(**SMALL)), []
    found = sample(prediction, lambda *report: reports.append(report))
    assert reports[0] == ("compiling", 0.0)
    assert reports[-1] == ("reading the coding scheme", 1.0)
    assert [done for _, done in reports] == sorted(done for _, done in reports)
    assert found.features.shape == (20, 20)
    blocks = prediction.theory.kernel_blocks[0]
    assert [row.theory for row in found.comparison] == pytest.approx(list(blocks[np.triu_indices(3)]))
    # Twenty draws cannot be trusted, and the page has to say so.
    assert any("Few independent draws" in text for text in found.warnings)
    for maker in (figures.kernels, figures.codes, figures.readout, figures.activities):
        assert maker(prediction, found).axes
    assert len(figures.kernels(prediction, found).axes) > len(figures.kernels(prediction, None).axes)


@pytest.mark.usefixtures("short")
def test_a_sample_can_be_cancelled():
    reports = []

    def report(phase, done):
        reports.append(phase)
        if done > 0:
            raise SamplingCancelledError

    with pytest.raises(SamplingCancelledError):
        sample(predict(Settings(**SMALL)), report)
    assert reports[0] == "compiling"
    assert reports[-1] in ("warm-up", "drawing")


def test_a_scheme_that_cannot_be_read_is_a_warning():
    found = predict(Settings(n_inputs=10, width=10, first=0.8, log_temperature=-4.0))
    scheme, reasons = model._read(found.theory.posterior, found.features)
    assert scheme is None
    assert "at least two inputs of each class" in reasons[0]


@pytest.fixture(scope="module")
def page_module():
    return pytest.importorskip("nonlazy.explore.page", reason="needs Panel")


def test_messages_are_escaped(page_module):
    assert "&lt;script&gt;" in page_module._message("<script>alert(1)</script>")
    prediction = predict(Settings(**SMALL))
    theory = prediction.theory
    object.__setattr__(theory, "notes", ("<img src=x>",))
    assert "<img" not in page_module._words(prediction, None)


@pytest.fixture
def running(page_module):
    """A server in a thread; its address."""
    started, found = threading.Event(), []

    def run():
        found.extend(server.make_server(0, threading.Event()))
        found[0].start()
        started.set()
        found[0].io_loop.start()

    thread = threading.Thread(target=run)
    thread.start()
    assert started.wait(60)
    yield found[0].port, "/" + found[1].rsplit("/", 1)[1]
    found[0].io_loop.add_callback(found[0].stop)
    found[0].io_loop.add_callback(found[0].io_loop.stop)
    thread.join(60)


def status(port: int, path: str, **headers: str) -> int:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    try:
        connection.request("GET", path, headers=headers)
        return connection.getresponse().status
    finally:
        connection.close()


SOCKET = {
    "Upgrade": "websocket", "Connection": "Upgrade", "Sec-WebSocket-Key": "AAAAAAAAAAAAAAAAAAAAAA==",
    "Sec-WebSocket-Version": "13", "Sec-WebSocket-Protocol": "bokeh",
}  # fmt: skip


def test_only_this_machine_is_served(running):
    port, path = running
    assert status(port, path, Host=f"localhost:{port}") == 200
    assert status(port, path, Host=f"evil.example:{port}") == 403
    assert status(port, path, Host="192.168.0.1") == 403
    # The page's address is not told.
    assert status(port, "/", Host=f"localhost:{port}") == 404
    origin = {"Host": f"localhost:{port}", "Origin": "http://evil.example"}
    assert status(port, path + "/ws", **SOCKET, **origin) == 403
    assert status(port, path + "/ws", **SOCKET, Host="evil.example", Origin=f"http://localhost:{port}") == 403


def test_bound_to_loopback(page_module):
    assert server.LOOPBACK == "127.0.0.1"


def test_without_panel_one_sentence_says_what_to_install(monkeypatch, capsys):
    monkeypatch.setattr(server, "find_spec", lambda name: None)
    code, _, err = call(monkeypatch, capsys, "explore", "--no-browser")
    assert code == 2
    assert err == "nonlazy: nonlazy explore needs Panel, which is not installed: pip install 'nonlazy[explore]'.\n"


def test_port_out_of_range_is_one_sentence(monkeypatch, capsys):
    code, _, err = call(monkeypatch, capsys, "explore", "--no-browser", "--port", "70000")
    assert code == 2
    assert err == "nonlazy: port must be an integer from 0 (any free port) to 65535, got 70000.\n"


def test_importing_the_library_does_not_import_panel():
    check = "import sys, nonlazy, nonlazy.cli; sys.exit(any(m in sys.modules for m in ('panel', 'bokeh', 'tornado')))"
    assert subprocess.run([sys.executable, "-c", check], check=False).returncode == 0


# Elements inside the shadow trees that the page's widgets live in.
DEEP = """
const found = [];
(function walk(root) {
  for (const element of root.querySelectorAll("*")) {
    if (element.matches(arguments[1])) found.push(element);
    if (element.shadowRoot) walk(element.shadowRoot, arguments[1]);
  }
})(document, arguments[0]);
return found;
"""


class Shown:
    """What the page shows."""

    def __init__(self, driver) -> None:
        self.driver = driver

    def all(self, selector: str) -> list:
        return self.driver.execute_script(DEEP, selector)

    def text(self, selector: str) -> str:
        # In one call: elements are replaced as the page changes.
        return "\n".join(
            self.driver.execute_script(DEEP.replace("return found", "return found.map(e => e.innerText)"), selector)
        )

    def pictures(self) -> list:
        shown = DEEP.replace("return found", "return found.map(e => [e.alt, e.naturalWidth]).filter(p => p[1] > 100)")
        return self.driver.execute_script(shown, "img")

    def press(self, name: str) -> None:
        """Click a button as soon as it can be."""
        click = DEEP.replace(
            "return found",
            "const b = found.find(e => e.innerText.trim() == arguments[1] && !e.disabled); if (b) b.click(); return Boolean(b)",
        )
        self.until(lambda: self.driver.execute_script(click, "button", name))

    def until(self, condition, seconds: float = 180):
        end = time.monotonic() + seconds
        while not (found := condition()):
            assert time.monotonic() < end, "the page did not change in time"
            time.sleep(0.05)
        return found


@pytest.mark.slow
@needs_chromium
def test_page_in_chromium(page_module):
    from selenium.webdriver.common.keys import Keys

    command = [sys.executable, "-m", "nonlazy", "explore", "--no-browser"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=os.environ | {"PYTHONUNBUFFERED": "1"})
    try:
        address = re.search(r"http\S+", process.stdout.readline())[0]
        with chromium("--window-size=1400,1100") as driver:
            page = Shown(driver)
            driver.get(address)
            assert driver.title == "nonlazy explore"
            before = page.until(lambda: page.text("table.codes"))
            assert "1-1-0" in before
            page.until(lambda: len(page.pictures()) == 4)
            first, *_, inputs, width = page.all(".noUi-handle")
            first.send_keys(Keys.ARROW_LEFT)
            page.until(lambda: page.text("table.codes") not in ("", before))
            # The smallest network is the fastest to sample.
            inputs.send_keys(Keys.HOME)
            width.send_keys(Keys.HOME)
            page.until(lambda: "class ratios" in page.text("div") and not page.all("button[disabled].bk-btn-primary"))
            theory = dict(page.pictures())
            page.press("Sample a network")
            page.until(lambda: "Sampled:" in page.text("p.scheme"))
            page.until(lambda: dict(page.pictures())["kernels"] > 2 * theory["kernels"])
            page.until(lambda: dict(page.pictures())["activities"] > 1.5 * theory["activities"])
            errors = [entry for entry in driver.get_log("browser") if entry["level"] == "SEVERE"]
            assert errors == []
            host = address.rsplit("/", 1)[0].removeprefix("http:")
            assert [url for url in requested(driver) if not url.startswith(("http:" + host, "ws:" + host))] == []
        process.send_signal(signal.SIGINT)
        assert process.wait(60) == 0
    finally:
        process.kill()
        process.wait()
        process.stdout.close()
