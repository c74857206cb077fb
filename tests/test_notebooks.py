"""The notebooks run from nothing, in order, and show figures; each `.ipynb` is its `.py` with outputs."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import nbformat
import pytest

NOTEBOOKS = Path(__file__).resolve().parents[1] / "notebooks"
NAMES = ("01_simulate", "02_pretrain", "03_index", "04_query", "05_clusters_umap")
FIGURES = {"01_simulate": 9, "02_pretrain": 4, "03_index": 3, "04_query": 4, "05_clusters_umap": 3}
HAVE_REAL = (NOTEBOOKS.parents[1] / "shared/data/tomograms/emp10499").is_dir()
NEED_REAL = {"01_simulate": 3}  # figures that are left out without it
WEIGHTS = ("voxel_small", "subtomogram_small")
NEED_WEIGHTS = NAMES[2:]


def _load_render() -> ModuleType:
    spec = importlib.util.spec_from_file_location("render_notebooks", NOTEBOOKS / "render.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


render = _load_render()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One empty place for all of them: 03 to 05 find there what those before them made."""
    return Path(render.workplace(tmp_path_factory.mktemp("walk")))


def test_there_are_the_five_of_the_walk() -> None:
    assert tuple(path.stem for path in render.sources()) == NAMES


@pytest.mark.parametrize("name", NAMES)
def test_pair_agrees_cell_by_cell(name: str) -> None:
    source = render.read_source(NOTEBOOKS / f"{name}.py")
    committed = nbformat.read(NOTEBOOKS / f"{name}.ipynb", as_version=4)
    assert [_text(cell) for cell in committed.cells] == [_text(cell) for cell in source.cells], (
        f"run: python notebooks/render.py {name[:2]}"
    )


@pytest.mark.parametrize("name", NAMES)
def test_committed_notebook_shows_its_figures_and_stays_small(name: str) -> None:
    _skip_without_weights(name)
    path = NOTEBOOKS / f"{name}.ipynb"
    committed = nbformat.read(path, as_version=4)
    shown = render.figures(committed)
    assert len(shown) == FIGURES[name]
    assert all(render.PICTURE in bundle for bundle in shown), "a code host shows pictures only; render with a chromium"
    assert path.stat().st_size < 1.5e6
    assert not _errors(committed)


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("name", NAMES)
def test_notebook_runs_and_shows_figures(name: str, folder: Path) -> None:
    _skip_without_weights(name)
    notebook = render.execute(render.read_source(NOTEBOOKS / f"{name}.py"), folder)
    shown = render.figures(notebook)
    assert len(shown) == FIGURES[name] - (0 if HAVE_REAL else NEED_REAL.get(name, 0))
    assert all(bundle[render.FIGURE]["data"] for bundle in shown)  # something is drawn in each
    assert not _errors(notebook)


def _text(cell: Any) -> tuple[str, str]:
    return cell["cell_type"], cell["source"]


def _errors(notebook: nbformat.NotebookNode) -> list[Any]:
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", [])]
    return [output for output in outputs if output["output_type"] == "error" or output.get("name") == "stderr"]


def _skip_without_weights(name: str) -> None:
    if name in NEED_WEIGHTS and not all(_is_bundled(weights) for weights in WEIGHTS):
        pytest.skip(f"{name} needs the bundled weights {' and '.join(WEIGHTS)}")


def _is_bundled(name: str) -> bool:
    from cryoembed.errors import InputError
    from cryoembed.models.checkpoint import bundled_weights

    try:
        return bundled_weights(name).is_file()
    except InputError:
        return False
