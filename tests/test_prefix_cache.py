"""Pages on disk under real models: the same bits cold, warm and after a restart; what damages them costs time alone."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

import intact
from intact.receipts.verify import verify
from support.killed import run
from support.tiny import write_tiny

PROMPT = [(53 * i * i + 7 * i + 40) % 256 + 3 for i in range(150)]
OPTIONS = {"max_tokens": 20, "temperature": 0.8, "seed": 3, "logprobs": True, "ignore_eos": True}


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    return write_tiny(tmp_path_factory.mktemp("model") / "tiny.gguf", "llama", context=512)


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("INTACT_HOME", str(tmp_path / "home"))


def answer(model, prompt=PROMPT, **options):
    return model.generate([prompt], n=2, **OPTIONS, **options)[0]


def pages(folder):
    return sorted(file for file in folder.glob("*/*") if len(file.name) == 64)


@pytest.mark.parametrize("profile", ["int8", "fp32", "mxfp4", "int8+kv-int4"])
@pytest.mark.parametrize("executor", ["native", "reference"])
def test_bits_are_the_same_cold_warm_and_after_a_restart(path, tmp_path, profile, executor):
    if (executor, profile) == ("reference", "fp32"):
        pytest.skip("there is no such executor")
    options = {"profile": profile, "executor": executor}
    expected = answer(intact.load(path, threads=1, prefix_cache=False, profile=profile))
    saved = []
    for threads in (2, 1, 2):
        with intact.load(path, threads=threads, prefix_cache=tmp_path / "pages", **options) as model:
            assert answer(model) == expected
            saved.append(model.engine.counters.cached_tokens)
            assert answer(model) == expected
            assert model.engine.counters.cached_tokens > saved[-1]
            counts = model.engine.stores[0].counts
    assert saved == [0, 128, 128]
    assert (counts.read, counts.written, counts.damaged) == (4, 0, 0)


def test_models_profiles_and_layouts_keep_out_of_each_other_s_way(path, tmp_path, caplog):
    other = write_tiny(tmp_path / "other.gguf", "gemma3", context=512)
    folder = tmp_path / "pages"
    settings = [{}, {"profile": "fp32"}, {"page_size": 16}, {"executor": "reference"}]
    settings += [{"profile": "int8_row"}, {"kv": "int8"}]
    for again in (False, True):
        for source, options in [*((path, one) for one in settings), (other, {})]:
            plain = {name: value for name, value in options.items() if name in ("profile", "kv")}
            expected = answer(intact.load(source, threads=1, prefix_cache=False, **plain))
            with intact.load(source, prefix_cache=folder, **options) as model:
                assert answer(model) == expected
                assert (model.engine.counters.cached_tokens > 0) == again
    assert len(list(folder.glob("*/about.json"))) == len(settings) + 1
    assert not caplog.records


def test_pages_of_other_numerics_are_ignored_and_that_is_said(path, tmp_path, caplog, monkeypatch):
    folder = tmp_path / "pages"
    with monkeypatch.context() as patch:
        patch.setattr("intact.receipts.identity.VERSION", "0")
        with intact.load(path, prefix_cache=folder) as model:
            expected = answer(model)
    with intact.load(path, prefix_cache=folder) as model:
        assert answer(model) == expected
        assert model.engine.counters.cached_tokens == 0
    said = "it has pages of this model from another version (format 1, numerics 0, layout 1), which are ignored"
    assert [record.getMessage() for record in caplog.records] == [f"prefix cache {folder}: {said}"]


def test_a_model_that_changes_under_its_name_finds_no_page(path, tmp_path):
    file = tmp_path / "model.gguf"
    for seed in (1, 2, 1):
        write_tiny(file, "llama", context=512, seed=seed)
        expected = answer(intact.load(file, threads=1, prefix_cache=False))
        with intact.load(file, prefix_cache=tmp_path / "pages") as model:
            assert answer(model) == expected
            found = model.engine.counters.cached_tokens
    assert found > 0
    assert len(list((tmp_path / "pages").glob("*/about.json"))) == 2


def test_the_digest_of_a_model_is_remembered(path, tmp_path, monkeypatch):
    os.utime(path, (1, 1))
    monkeypatch.setattr("intact.checkpoints.catalogue.measured._SETTLED", 0)
    intact.load(path, prefix_cache=tmp_path / "pages").close()
    monkeypatch.setattr("intact.library.loading.digests_of", lambda *_: pytest.fail("the weights are read again"))
    intact.load(path, prefix_cache=tmp_path / "pages").close()
    assert len(list((tmp_path / "pages").glob("*/about.json"))) == 1


def test_a_flipped_bit_in_any_page_costs_time_alone(path, tmp_path, caplog):
    folder = tmp_path / "pages"
    with intact.load(path, prefix_cache=folder) as model:
        expected = answer(model)
    for i, file in enumerate(pages(folder)):
        content = bytearray(file.read_bytes())
        content[len(content) * (i + 1) // 5] ^= 1 << i
        file.write_bytes(content)
    with intact.load(path, prefix_cache=folder) as model:
        assert answer(model) == expected
        counts = model.engine.stores[0].counts
        assert 1 <= counts.damaged <= 4  # several are read at a time, none behind the first one is used
        assert model.engine.counters.cached_tokens == counts.read == 0
    assert [record.levelname for record in caplog.records] == ["WARNING"]
    with intact.load(path, prefix_cache=folder) as model:
        assert answer(model) == expected


def test_a_small_bound_evicts_and_changes_nothing(path, tmp_path):
    folder = tmp_path / "pages"
    page = intact.load(path).executor.page_bytes + 76
    prompts = [[*range(40 + i, 140 + i)] for i in range(4)]
    plain = intact.load(path, prefix_cache=False)
    expected = [answer(plain, prompt) for prompt in prompts]
    removed = 0
    for _ in range(2):
        with intact.load(path, prefix_cache=folder, prefix_cache_bytes=7 * page) as model:
            for prompt, wanted in zip(prompts, expected, strict=True):
                assert answer(model, prompt) == wanted
            model.engine.stores[0].flush()
            removed += model.engine.stores[0].counts.removed
            assert sum(file.stat().st_size for file in pages(folder)) <= 7 * page
    assert removed > 8


def test_receipts_do_not_depend_on_it(path, tmp_path):
    plain = answer(intact.load(path, prefix_cache=False), receipt=True)
    for _ in range(2):
        with intact.load(path, prefix_cache=tmp_path / "pages") as model:
            found = answer(model, receipt=True)
            assert [one.receipt.to_document() for one in found] == [one.receipt.to_document() for one in plain]
            assert all(outcome.outcome == "true" for outcome in verify(model, [one.receipt for one in found]))


SHARED = """
import json, sys, intact
model = intact.load(sys.argv[1], prefix_cache=sys.argv[2])
first = int(sys.argv[3])
texts = [[(7 * i * (k % 3 + 1) + 40) % 256 + 3 for i in range(120)] for k in range(first, first + 6)]
print(json.dumps([one.text for (one,) in model.generate(texts, max_tokens=8, temperature=0.8)]))
"""


def test_processes_share_a_folder(path, tmp_path):
    places = os.pathsep.join([str(Path(intact.__file__).parents[1])])
    command = [sys.executable, "-c", SHARED, str(path)]
    environment = {**os.environ, "PYTHONPATH": places, "INTACT_THREADS": "1"}

    def start(folder, first):
        words = [*command, str(folder), str(first)]
        return subprocess.Popen(words, env=environment, stdout=subprocess.PIPE, text=True)

    alone = [start(tmp_path / f"{i}", i).communicate()[0] for i in range(2)]
    together = [start(tmp_path / "shared", i % 2) for i in range(4)]
    assert [one.communicate()[0] for one in together] == alone * 2
    assert all(json.loads(text) for text in alone)


def test_a_chat_that_is_killed_goes_on_with_its_pages(path, tmp_path):
    environment = {"INTACT_NO_LOG": "0", "XDG_STATE_HOME": str(tmp_path / "state"), "INTACT_THREADS": "1"}
    folder = tmp_path / "pages"
    system = "One rule after the other, all of them long. " * 4

    def chat(*words, lines, count=0, kept=folder):
        options = ["--max-tokens", "6", "--no-server", *(["--prefix-cache", str(kept)] if kept else [])]
        return run(["chat", *words, *options], environment, "step", count, "".join(f"{line}\n" for line in lines))

    first = chat(str(path), "--system", system, lines=["one"])
    assert not first.killed
    steps = first.counted["step"]
    killed = chat(str(path), "--system", system, lines=["one", "two"], count=steps + 2)  # while it answers the second
    assert killed.killed
    assert pages(folder)
    went_on = chat("--continue", lines=["two"])
    whole = chat(str(path), "--system", system, lines=["one", "two"], kept=None)
    assert not went_on.killed
    assert whole.out.endswith(went_on.out)
    assert went_on.counted["step"] < whole.counted["step"]
