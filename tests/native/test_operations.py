"""The table of operations holds those of native/ops, by the names of their files."""

import re
from pathlib import Path

import pytest

from intact import _native

OPERATIONS = sorted(path.stem for path in (Path(__file__).parents[2] / "native/ops").glob("*.cpp"))


@pytest.mark.native
@pytest.mark.parametrize("name", OPERATIONS)
def test_an_operation_is_found_by_the_name_of_its_file(name: str) -> None:
    assert _native.Op(name).kind == name


@pytest.mark.native
def test_an_unknown_operation_is_refused_with_the_names_that_there_are() -> None:
    with pytest.raises(
        ValueError, match=re.escape("unknown operation ropes: it should be one of " + ", ".join(OPERATIONS))
    ):
        _native.Op("ropes")


@pytest.mark.native
def test_an_operation_without_its_buffers_is_refused() -> None:
    model = _native.Model("int8", "scalar", 1, 1, 1, 16, 16)
    for name in OPERATIONS:
        with pytest.raises(ValueError, match=r"an operation names no|columns are exchanged"):
            model.add_op(_native.Op(name))
