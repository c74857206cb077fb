"""Fixtures for all tests."""

from pathlib import Path

import pytest
from hypothesis import settings

settings.register_profile("cryoembed", deadline=None)  # a busy machine is no failing test
settings.load_profile("cryoembed")

SHARED_DATA = Path(__file__).resolve().parents[1] / "../shared/data"


@pytest.fixture(scope="session", autouse=True)
def cache_of_tests(tmp_path_factory: pytest.TempPathFactory):
    """Keep the user's cache folder out of tests."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CRYOEMBED_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Folder of real data for development; absent from a fresh clone, where these tests are skipped."""
    if not SHARED_DATA.is_dir():
        pytest.skip("real data (../shared/data) is not here")
    return SHARED_DATA.resolve()
