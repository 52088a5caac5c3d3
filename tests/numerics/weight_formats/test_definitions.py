"""Weight formats are defined once, consistently, and the documents say what the definitions say."""

from __future__ import annotations

import re
from pathlib import Path

import gguf
import numpy as np
import pytest

from intact.numerics.weight_formats import BLOCK_FORMATS, FORMATS, BlockFormat
from support.modules import load

ROOT = Path(__file__).parents[3]
VERSION_1 = [name for name, form in BLOCK_FORMATS.items() if form.digest_place is not None]
"""Formats of numerics version 1; the pages need not list later ones block by block."""
TABLE = load("scripts/weight_formats.py")


def test_the_table_of_the_page_is_made_from_the_definitions():
    assert TABLE.page() == TABLE.PAGE.read_text(), "run scripts/weight_formats.py"


@pytest.mark.parametrize("name", VERSION_1)
def test_the_pages_list_each_block_as_it_is_defined(name: str) -> None:
    form = BLOCK_FORMATS[name]
    integers = (ROOT / "docs/spec/numerics.md").read_text()
    floats = (ROOT / "docs/spec/numerics_fp32.md").read_text()
    assert re.search(rf"^\| {name} \| {form.values} \|", integers, re.MULTILINE)
    assert re.search(rf"^\| {name} \| {form.size} \|", floats, re.MULTILINE)


@pytest.mark.parametrize("name", [name for name in FORMATS if name in gguf.GGMLQuantizationType.__members__])
def test_sizes_and_numbers_are_those_of_gguf(name: str) -> None:
    form, theirs = FORMATS[name], gguf.GGMLQuantizationType[name]
    assert form.gguf == theirs
    assert gguf.GGML_QUANT_SIZES[theirs] == (form.values, form.size)


@pytest.mark.parametrize("form", BLOCK_FORMATS.values(), ids=lambda form: form.name)
def test_fields_have_the_shapes_and_ranges_of_the_definition(form: BlockFormat) -> None:
    blocks = np.random.default_rng(0).integers(0, 256, (2, 3, form.size), np.uint8)
    codes, scale, minimum = form.unpack(blocks)
    assert codes.shape == (2, 3, form.values)
    assert codes.dtype == np.uint8
    assert codes.max() < 1 << form.bits
    assert scale is None or scale.shape == (2, 3, form.values // form.block)
    assert (minimum is None) == (form.minimum_at is None)
    assert minimum is None or minimum.shape == (2, 3, form.values // form.block)
    assert form.table is None or len(form.table) == 16
    assert all(0 <= half.at <= form.size - (8 if half.in_words else 2) for half in form.halves)


def test_the_operations_digest_has_a_place_for_each_format_of_version_1() -> None:
    assert sorted(BLOCK_FORMATS[name].digest_place for name in VERSION_1) == list(range(15))
