"""The synthetic programs of the conformance digests: equal to the native executor's, or refused by name."""

import re

import numpy as np
import pytest

from intact._base.errors import ParameterError
from intact.executors.gpu import running
from intact.executors.native import NativeExecutor
from intact.executors.wgpu import WgpuExecutor
from intact.measure.conformance import EXPECTED, FEW_TOKENS, default_model, make_executor, model_digest
from intact.measure.conformance.synthetic import PAGE, cases
from support.gpu import device

CASES = list(cases())
REFUSED = r"(experts|convolution|scan|delta|selective|recurrence|trapezoidal)\b.*"
"""Programs with operations that have no shader."""
RUN = [case for case in CASES if not re.fullmatch(REFUSED, case.name)]


def test_most_programs_run():
    assert (len(RUN), len(CASES)) == (62, 100)


@pytest.mark.parametrize("way", [1, 2])
@pytest.mark.parametrize("case", RUN[::12], ids=lambda case: case.name)
def test_all_ways_to_multiply_bytes_are_equal(case, way, monkeypatch):
    monkeypatch.setattr(running, "DOT", way)
    test_a_program_equals_native(case)


@pytest.mark.parametrize("case", RUN, ids=lambda case: case.name)
def test_a_program_equals_native(case):
    device()
    gpu = WgpuExecutor(case.program, bits=case.bits, page_size=PAGE, threads=1)
    native = NativeExecutor(case.program, bits=case.bits, page_size=PAGE, threads=1)
    for executor in (gpu, native):
        executor.reserve_pages(case.pages)
    for step in case.steps:
        assert np.array_equal(gpu.step(step.chunks, step.wanted), native.step(step.chunks, step.wanted))
        rows = np.arange(len(step.wanted))
        assert np.array_equal(gpu.head_inputs(rows), native.head_inputs(rows))
    if case.program.layers:
        assert gpu.page_bytes == native.page_bytes
        assert all(np.array_equal(gpu.read_page(page), native.read_page(page)) for page in range(case.pages))


@pytest.mark.parametrize("case", [case for case in CASES if case not in RUN], ids=lambda case: case.name)
def test_others_are_refused_by_name(case):
    device()
    with pytest.raises(ParameterError, match=r"the executor wgpu runs no [a-z].*: load with executor='native'"):
        WgpuExecutor(case.program, bits=case.bits, page_size=PAGE)


@pytest.mark.slow
def test_the_default_models_tokens_are_the_pinned_ones():
    device()
    if (path := default_model()) is None:
        pytest.skip("needs the default model: intact pull, or INTACT_MODELS")
    assert model_digest(make_executor("wgpu"), path, FEW_TOKENS) == EXPECTED[f"tokens, first {FEW_TOKENS}"]
