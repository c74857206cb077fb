from __future__ import annotations

from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Real data in `shared/data` beside the repository or further up; tests skip where it is absent."""
    for parent in Path(__file__).resolve().parents[2:]:
        if (parent / "shared" / "data" / "tomograms").is_dir():
            return parent / "shared" / "data"
    pytest.skip("no real data: there is no folder shared/data beside the repository")
