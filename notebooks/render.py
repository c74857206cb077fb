"""Run the notebooks and write each `.ipynb` with its figures: interactive in Jupyter, pictures on code hosts.

    python notebooks/render.py            # all five, about five minutes of one core
    python notebooks/render.py 03 04      # some; what they need is made first

The `.py` files (jupytext, percent format) are the source; the `.ipynb` files are made from them here and nowhere else.
Pictures need a chromium; without one the figures are interactive only.
"""

from __future__ import annotations

import base64
import io
import os
import shutil
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import jupytext
import nbformat
import plotly.io as pio
from nbclient import NotebookClient
from PIL import Image, ImageChops, ImageOps

from cryoembed.plot.picture import page_to_png

HERE = Path(__file__).resolve().parent
FIGURE, PICTURE = "application/vnd.plotly.v1+json", "image/png"
WIDTH_PX, RIM_PX = 960, 8
COLOURS = 32


def sources() -> list[Path]:
    """The notebooks' `.py` files, in the order of the walk."""
    return sorted(HERE.glob("[0-9][0-9]_*.py"))


def read_source(path: Path) -> nbformat.NotebookNode:
    """The notebook that a `.py` file describes, without outputs; cell ids are numbers, so that equal text is equal."""
    notebook = jupytext.read(path)
    for number, cell in enumerate(notebook.cells):
        cell["id"] = f"cell-{number:02d}"
    return notebook


def workplace(folder: Path) -> Path:
    """A copy of what the notebooks read; returns the folder to run them in. All that they make is left behind there."""
    shutil.copytree(HERE.parent / "configs", folder / "configs")
    (folder / "notebooks").mkdir()
    return folder / "notebooks"


def execute(notebook: nbformat.NotebookNode, folder: Path, *, timeout: int = 900) -> nbformat.NotebookNode:
    """Run all cells in ``folder``; figures come out as plotly's JSON. Raises nbclient's error if a cell does."""
    client = NotebookClient(
        notebook,
        timeout=timeout,
        kernel_name="python3",
        record_timing=False,
        resources={"metadata": {"path": str(folder)}},
    )
    paths = os.pathsep.join(filter(None, [str(HERE.parent), os.environ.get("PYTHONPATH")]))
    client.execute(env=os.environ | {"PLOTLY_RENDERER": "plotly_mimetype", "PYTHONPATH": paths})
    return notebook


def figures(notebook: nbformat.NotebookNode) -> list[dict[str, Any]]:
    """The mime bundles of all outputs that are figures."""
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", [])]
    return [output["data"] for output in outputs if FIGURE in output.get("data", {})]


def add_pictures(notebook: nbformat.NotebookNode) -> int:
    """Put a PNG beside each figure for readers without Jupyter; returns how many could be made."""
    made = 0
    with tempfile.TemporaryDirectory() as scratch:
        for bundle in figures(notebook):
            figure = pio.from_json(pio.to_json(dict(bundle[FIGURE])), skip_invalid=True)
            page, picture = Path(scratch) / "figure.html", Path(scratch) / "figure.png"
            height = int(figure.layout.height or 450)
            figure.update_layout(width=WIDTH_PX, height=height)
            figure.write_html(page, config={"staticPlot": True})
            page.write_text(page.read_text().replace("<body>", '<body style="margin:0">'))
            if page_to_png(page, picture, width=WIDTH_PX, height=height):
                bundle[PICTURE] = base64.b64encode(_cropped(picture)).decode()
                made += 1
    return made


def _cropped(picture: Path) -> bytes:
    """The PNG without its white rim, in few colours that keep rare ones: rings on grey slices; noise takes less room."""
    image = Image.open(picture).convert("RGB")
    image = ImageOps.expand(image.crop(ImageChops.invert(image).getbbox()), RIM_PX, "white")
    stream = io.BytesIO()
    image.quantize(COLOURS, method=Image.Quantize.MAXCOVERAGE, dither=Image.Dither.NONE).save(
        stream, "PNG", optimize=True
    )
    return stream.getvalue()


def write(notebook: nbformat.NotebookNode, path: Path) -> None:
    """Write a tidy `.ipynb`: nothing in it tells of the machine that ran it."""
    notebook.metadata = {
        "jupytext": {"formats": "ipynb,py:percent"},
        "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
        "language_info": {"name": "python"},
    }
    nbformat.validate(notebook)
    nbformat.write(notebook, path)


def main(chosen: list[str]) -> None:
    """Render the notebooks whose names start with one of ``chosen``; all if there is none."""
    paths = [path for path in sources() if not chosen or any(path.name.startswith(start) for start in chosen)]
    if not paths:
        sys.exit(f"no notebook starts with {' or '.join(chosen)}; there are {', '.join(p.stem for p in sources())}")
    with tempfile.TemporaryDirectory() as scratch:
        folder = workplace(Path(scratch))
        for path in paths:
            start = time.monotonic()
            notebook = execute(read_source(path), folder)
            seconds, shown = time.monotonic() - start, len(figures(notebook))
            pictures = add_pictures(notebook)
            target = path.with_suffix(".ipynb")
            write(notebook, target)
            size = target.stat().st_size / 1e6
            print(f"{target.name}: {seconds:.0f} s, {shown} figures, {pictures} pictures, {size:.2f} MB")


if __name__ == "__main__":
    main(sys.argv[1:])
