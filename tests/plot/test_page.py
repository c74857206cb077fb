import re
import shutil

import numpy as np
import pytest
from PIL import Image

from cryoembed.plot.embeddings import embedding_scatter
from cryoembed.plot.page import Section, page_html, table_html, write_page
from cryoembed.plot.picture import BROWSERS, page_to_png

FIGURE = embedding_scatter(np.eye(2), colour=["a", "b"])


def test_the_script_is_inside_once_and_nothing_is_loaded_from_elsewhere():
    html = page_html("t", [Section("one", figures=[FIGURE]), Section("two", figures=[FIGURE, FIGURE])])
    assert html.count("plotly.js v") == 1
    assert not re.search(r"<(script|link|img)[^>]+(src|href)=\"https?:", html)
    assert html.count("Plotly.newPlot(") == 3
    assert len(set(re.findall(r'<div id="(figure-[^"]+)"', html))) == 3


def test_a_chart_is_never_offered_for_upload():
    html = page_html("t", [Section("one", figures=[FIGURE])])
    settings = html[html.rindex("Plotly.newPlot(") :]
    assert '"showSendToCloud":false' in settings.replace(" ", "")
    assert re.search(r'"modeBarButtonsToRemove":\s*\[[^\]]*"sendChartToCloud"', settings)


def test_equal_content_gives_an_equal_file(tmp_path):
    for name in ("a", "b"):
        write_page(tmp_path / f"{name}.html", "t", [Section("s", "text", [{"F1": 0.5}], [FIGURE])], facts={"F1": "0.5"})
    assert (tmp_path / "a.html").read_bytes() == (tmp_path / "b.html").read_bytes()
    assert [path.name for path in sorted(tmp_path.iterdir())] == ["a.html", "b.html"]


def test_a_page_without_figures_is_small_and_holds_its_text():
    html = page_html("A & B", [Section("s", "one\n\ntwo")], lead="lead", facts={"F1": "0.91"})
    assert len(html) < 6000
    assert "A &amp; B" in html
    assert html.count("<p>") == 2
    assert "<b>0.91</b>" in html


def test_names_cannot_smuggle_markup_into_a_table():
    html = table_html([{"name": "<script>alert(1)</script>", "F1": 0.12345}, {"n": 3}])
    assert "<script>" not in html
    assert "0.123" in html
    assert html.count("<th>") == 3


def test_an_empty_table_is_nothing():
    assert table_html([]) == ""


def test_no_browser_is_no_error(tmp_path, monkeypatch):
    (tmp_path / "p.html").write_text("<p>x</p>")
    monkeypatch.setattr(shutil, "which", lambda name: None)
    assert page_to_png(tmp_path / "p.html", tmp_path / "p.png") is False
    assert not (tmp_path / "p.png").exists()


def test_a_browser_that_fails_is_no_error(tmp_path, monkeypatch):
    (tmp_path / "p.html").write_text("<p>x</p>")
    monkeypatch.setattr(shutil, "which", lambda name: "/bin/false")
    assert page_to_png(tmp_path / "p.html", tmp_path / "p.png") is False
    assert [path.name for path in tmp_path.iterdir()] == ["p.html"]


@pytest.mark.slow
@pytest.mark.skipif(not any(shutil.which(name) for name in BROWSERS), reason="no chromium installed")
def test_the_picture_shows_the_page(tmp_path):
    path = tmp_path / "p.html"
    path.write_text("<body style='margin:0;background:#ff0000'></body>")
    assert page_to_png(path, tmp_path / "p.png", width=320, height=200)
    picture = np.asarray(Image.open(tmp_path / "p.png").convert("RGB"))
    assert picture.shape == (200, 320, 3)
    assert picture[100, 160].tolist() == [255, 0, 0]
