"""A page as a PNG, where a chromium is installed; its absence is no error."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from pathlib import Path

from cryoembed.errors import InputError
from cryoembed.io.atomic import replacing

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
_FLAGS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--hide-scrollbars", "--no-first-run",
    "--disable-quic", "--disable-background-networking", "--disable-component-update", "--disable-sync",
    "--virtual-time-budget=20000",
)  # fmt: skip


def page_to_png(
    path_html: Path, path_png: Path, *, width: int = 1160, height: int = 2400, timeout_seconds: float = 120.0
) -> bool:
    """Render a page to a picture of ``width`` x ``height`` pixels (the page's top part where it is longer).

    Returns
    -------
    Whether the picture was written: False without a browser, or if the browser fails. Never raises for those.
    """
    browser = next((found for name in BROWSERS if (found := shutil.which(name))), None)
    if browser is None or not Path(path_html).is_file():
        return False
    try:
        with replacing(Path(path_png)) as temporary, tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
            # chromium writes a png whatever the suffix; the temporary name keeps the target's
            command = [
                browser, *_FLAGS, f"--user-data-dir={profile}", f"--window-size={width},{height}",
                f"--screenshot={temporary.resolve()}", Path(path_html).resolve().as_uri(),
            ]  # fmt: skip
            subprocess.run(command, check=True, capture_output=True, timeout=timeout_seconds)
    except (subprocess.SubprocessError, OSError, InputError):
        return False
    return Path(path_png).is_file()
