"""The command line answers at once, imports nothing heavy, and turns wrong input into one line and exit code 2."""

import subprocess
import sys
from pathlib import Path

import pytest

HEAVY = "torch pandas starfile sklearn skimage faiss umap plotly lightning_fabric"


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-m", "cryoembed", *arguments], capture_output=True, text=True, check=False)


@pytest.mark.parametrize(
    "verb",
    [
        "demo",
        "simulate",
        "pretrain",
        "train",
        "denoise",
        "segment",
        "index",
        "query",
        "cluster",
        "convert",
        "evaluate",
        "info",
    ],
)
def test_every_verb_has_help_without_heavy_imports(verb: str) -> None:
    code = (
        "import sys; sys.argv = ['cryoembed', sys.argv[1], '--help']\n"
        "from cryoembed.cli import main\n"
        "try: main()\n"
        f"finally: print('heavy:', *[m for m in '{HEAVY}'.split() if m in sys.modules])\n"
    )
    done = subprocess.run([sys.executable, "-c", code, verb], capture_output=True, text=True, check=True)
    assert "Usage" in done.stdout
    assert done.stdout.splitlines()[-1].strip() == "heavy:"


def test_unknown_setting_exits_with_2_and_names_the_nearest_one(tmp_path: Path) -> None:
    done = run("simulate", "--out", str(tmp_path / "data"), "--set", "sed=3")
    assert done.returncode == 2
    assert "did you mean 'seed'" in done.stderr
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "data").exists()
