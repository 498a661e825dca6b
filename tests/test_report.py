"""The report opens in a browser, asks nothing of the network, and none of its figures is empty."""

from __future__ import annotations

import json

import numpy as np
import pytest
from browser import chromium, needs_chromium, requested
from matplotlib.backends.backend_agg import FigureCanvasAgg

import nonlazy as nl
from nonlazy.analysis import summarize
from nonlazy.report import pictures, report_page


@pytest.fixture(scope="module")
def drawn(tree, posterior):
    return pictures(tree, posterior.model.phi, posterior.readout_variance)


@pytest.fixture(scope="module")
def page(tree, drawn, tmp_path_factory):
    file = tmp_path_factory.mktemp("report") / "report.html"
    file.write_text(report_page("A <run>", summarize(tree), drawn, "nonlazy run"), encoding="utf-8")
    return file


def test_every_figure_has_content(drawn):
    assert {p.name for p in drawn} >= {"activities", "kernels", "codes", "readout", "predictions", "block_traces"}
    for picture in drawn:
        canvas = FigureCanvasAgg(picture.figure)
        canvas.draw()
        pixels = np.asarray(canvas.buffer_rgba())
        assert np.mean(np.any(pixels[..., :3] < 200, axis=-1)) > 0.01, picture.name
        assert picture.caption


def test_page_is_self_contained(page):
    text = page.read_text()
    assert "A &lt;run&gt;" in text
    assert "http" not in text.replace("http://www.w3.org", "")


@needs_chromium
def test_page_in_chromium(page):
    from selenium.webdriver.common.by import By

    with chromium() as driver:
        driver.get(page.as_uri())
        assert driver.title == "A <run>"
        images = driver.find_elements(By.TAG_NAME, "img")
        sizes = [
            driver.execute_script("return [arguments[0].naturalWidth, arguments[0].clientWidth]", i) for i in images
        ]
        assert len(sizes) >= 6
        assert all(natural > 100 and shown > 100 for natural, shown in sizes)
        assert driver.get_log("browser") == []
        assert requested(driver) == []


def test_summary_is_strict_json(tree):
    summary = json.dumps(summarize(tree), allow_nan=False)
    assert json.loads(summary)["complete"] is True
    assert nl.diagnose(tree).verdict == json.loads(summary)["verdict"]
