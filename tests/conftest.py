"""Fixtures that all tests share."""

import os
import signal
import ssl
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from hypothesis.database import DirectoryBasedExampleDatabase

from support.models import real_model

ROOT = Path(__file__).parent.parent
os.environ.setdefault("INTACT_NO_LOG", "1")  # what tests ask is no conversation of whoever runs them
# Threads that wait for each other spin: on a tiny model two of them take five times the processor time of one, and four
# on two cores seventy times. What threads change, namely nothing, is tested where they are given.
os.environ.setdefault("INTACT_THREADS", "1")
# Each HTTP client would read the machine's certificates again, 50 ms of processor time; servers of tests have none.
ssl.SSLContext.load_verify_locations = lambda *_, **__: None  # type: ignore[method-assign]

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # as a shell starts what runs in the background
    signal.signal(signal.SIGINT, signal.default_int_handler)

# The same examples everywhere; `few` of them for emulated and sanitised runs (--hypothesis-profile=few); `fresh` ones,
# others each time, to look for new failures (scripts/fresh_examples.sh).
settings.register_profile("default", deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("few", parent=settings.get_profile("default"), max_examples=10)
settings.register_profile(
    "fresh",
    parent=settings.get_profile("default"),
    derandomize=False,
    max_examples=300,
    print_blob=True,
    database=DirectoryBasedExampleDatabase(ROOT / ".hypothesis/examples"),
)
settings.load_profile("default")


def pytest_sessionstart() -> None:
    """Fail if INTACT_REQUIRE_TIERS=all (.ci/run sets it) and a tier that this processor could run is not held."""
    required = os.environ.get("INTACT_REQUIRE_TIERS")
    if not required:
        return
    from support.tiers import require_tiers  # which loads the extension

    try:
        require_tiers(required)
    except ValueError as error:
        raise pytest.UsageError(str(error)) from error


@pytest.fixture(scope="session")
def root() -> Path:
    """Root of the checkout."""
    return ROOT


@pytest.fixture(scope="session")
def data_dir() -> Path:
    """Folder of the test data; tests are skipped where it is absent."""
    folder = Path(os.environ.get("INTACT_DATA", ROOT.parent / "shared" / "data")).expanduser()
    if not folder.is_dir():
        pytest.skip(f"needs the test data in {folder} (INTACT_DATA names the folder)")
    return folder


@pytest.fixture(scope="session")
def model_path() -> Callable[[str], Path]:
    """Give the path of a real model by name, such as "smollm2-135m"; the test is skipped where the file is absent."""
    return real_model
