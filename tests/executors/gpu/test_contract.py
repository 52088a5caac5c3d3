"""The contract on a GPU: batch, order, chunk, page size, cache, preemption and drafts change no bit."""

from functools import cache

import numpy as np
import pytest

import intact
from intact.executors.native import available_tiers
from intact.receipts.verify import verify
from support.gpu import device
from support.settings import FACTORS, WHOLE, Setting, all_pairs, observe
from support.tiny import write_tiny

DRAWN = 10
PROMPT = tuple((53 * i * i + 7 * i + 40) % 256 + 3 for i in range(70))
ARCHITECTURES = ("llama", "gemma3", "qwen2", "gpt-oss")
ROWS = all_pairs(FACTORS | {"threads": (1,), "chunk": (WHOLE, 7, 64)})


def stranger(i):
    return [100 + 17 * i, 60 + i][: 1 + i % 2]


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tiny")
    return cache(lambda architecture: write_tiny(folder / f"{architecture}.gguf", architecture))


@pytest.fixture(scope="module")
def expected(tiny):
    """What the native executor gives alone, in one chunk."""

    @cache
    def outcome(architecture, sampled):
        setting = Setting(available_tiers()[0], 1, 1, WHOLE, sampled, 32)
        return observe(tiny(architecture), setting, PROMPT, stranger, DRAWN)

    return outcome


@pytest.mark.parametrize("row", range(len(ROWS)))
@pytest.mark.parametrize("architecture", ["llama", "gemma3"])
def test_no_setting_changes_a_bit_on_a_gpu(tiny, expected, architecture, row):
    device()
    setting = Setting(available_tiers()[0], **ROWS[row])
    found = observe(tiny(architecture), setting, PROMPT, stranger, DRAWN, executor="wgpu", gpu_check=False)
    assert found.differs(expected(architecture, setting.sampled)) == [], setting


def loaded(path, **options):
    gpu = {"executor": "wgpu", "gpu_check": False}
    return [intact.load(path, threads=1, **options, **which) for which in (gpu, {})]


def same(models, *arguments, **parameters):
    gpu, native = (model.generate(*arguments, logprobs=True, **parameters) for model in models)
    assert gpu == native
    return gpu


SAMPLED = {"temperature": 0.9, "top_k": 40, "seed": 3, "max_tokens": 8}


def test_answers_are_the_same_with_drafts_and_trees(tiny):
    device()
    text = list(PROMPT[:12]) * 3  # repeats itself, so that drafts are found
    models = loaded(tiny("llama"), drafter="lookup")
    same(models, [text], max_tokens=16)
    assert models[0].executor.counters["largest_step"] > 1


def test_answers_are_the_same_if_requests_are_preempted_or_cached(tiny):
    device()
    for options in ({"cache_bytes": 200_000, "page_size": 16}, {"prefix_cache": False}, {}):
        models = loaded(tiny("gemma3"), **options)
        prompts = [PROMPT[i : i + 30] for i in range(6)]
        same(models, prompts, **SAMPLED)
        same(models, prompts[::-1], n=2, **SAMPLED)


def test_pages_of_the_cache_file_serve_both_executors(tiny, tmp_path):
    device()
    gpu, native = loaded(tiny("llama"), prefix_cache=tmp_path)
    first = gpu.generate([PROMPT], logprobs=True, max_tokens=4)
    assert native.generate([PROMPT], logprobs=True, max_tokens=4) == first


@pytest.mark.parametrize("architecture", ARCHITECTURES[2:])
def test_architectures_run_or_are_refused_by_name(tiny, architecture):
    device()
    if architecture == "gpt-oss":
        with pytest.raises(intact.IntactError, match="the executor wgpu runs no mixtures of experts"):
            loaded(tiny(architecture))
        return
    gpu, native = loaded(tiny(architecture))
    assert np.array_equal(gpu.logits(PROMPT, raw=True)[0], native.logits(PROMPT, raw=True)[0])


def test_a_receipt_made_on_a_gpu_verifies_on_the_cpu(tiny):
    device()
    gpu, native = loaded(tiny("llama"))
    receipt = gpu.chat([{"role": "user", "content": "hello"}], receipt=True, logprobs=True, **SAMPLED).receipt
    assert [verdict.outcome for verdict in verify(native, [receipt])] == ["true"]


def test_auto_falls_back_to_the_cpu_and_says_so_once(tiny, caplog, monkeypatch):
    opened = device()
    if not opened.adapter.is_software:
        monkeypatch.setitem(opened.__dict__, "adapter", opened.adapter._replace(kind="CPU"))
    model = intact.load(tiny("llama"), executor="auto", threads=1)
    assert model.executor.description["executor"] == "native"
    assert [record.message for record in caplog.records if "executor auto" in record.message] == [
        f"executor auto: using the CPU, since the only device is in software: {opened.adapter}"
    ]


def test_auto_uses_a_gpu_that_passes(tiny, monkeypatch):
    opened = device()
    monkeypatch.setitem(opened.__dict__, "adapter", opened.adapter._replace(kind="DiscreteGPU"))
    model = intact.load(tiny("llama"), executor="auto", threads=1)
    assert model.executor.description["executor"] == "wgpu"


def test_options_of_the_gpu_need_its_executor(tiny):
    for options in ({"recheck": 3}, {"gpu_memory": "1GB"}, {"gpu_check": False}):
        with pytest.raises(intact.ParameterError, match="need executor='wgpu' or 'auto', got 'native'"):
            intact.load(tiny("llama"), **options)


def test_a_budget_that_is_too_small_is_named(tiny):
    device()
    with pytest.raises(intact.CapacityError, match=r"of the GPU's memory, but of the 100,000 of gpu_memory"):
        intact.load(tiny("llama"), executor="wgpu", gpu_memory=100_000, threads=1)
