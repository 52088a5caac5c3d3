"""vLLM's logs: its draws are found again, on a CPU through PyTorch, on an NVIDIA GPU by Philox; its forms are read."""

import json

import numpy as np
import pytest
from typer.testing import CliRunner

from intact._base.errors import LogError
from intact.measure.audit.distribution import distribution
from intact.measure.audit.generators import cuda_exponentials, torch_exponentials
from intact.measure.audit.log import SamplerSettings, read_log
from intact.measure.audit.scores import gumbel_margin, kind_of
from intact.numerics.sampling import philox4x32

PROMPT = [40, 77, 99, 130, 131, 132]
SETTINGS = {"temperature": 0.8, "top_p": 0.95, "top_k": 40, "min_p": 0.02, "seed": 7}
COUNT = 24


def test_the_gpu_s_numbers_are_those_that_pytorch_prints():
    """`torch.manual_seed(0)`, then `torch.rand(10, device="cuda")` twice: many public pages show these numbers."""
    noise = cuda_exponentials(0, 10, 108 * 2048)
    first, second = (np.exp(-next(noise)).round(4).tolist() for _ in range(2))
    assert first == [0.3990, 0.5167, 0.0249, 0.9401, 0.9459, 0.7967, 0.4150, 0.8203, 0.2290, 0.9096]
    assert second == [0.9722, 0.7910, 0.4690, 0.3300, 0.3345, 0.3783, 0.7640, 0.6405, 0.1103, 0.3594]


def test_a_gpu_with_fewer_threads_takes_more_words_of_each():
    seed, threads, size = (5 << 32) + 9, 256, 3000
    noise = cuda_exponentials(seed, size, threads)
    rows = [next(noise) for _ in range(2)]
    for call, row in enumerate(rows):
        for element in (0, 255, 256, 1023, 1024, 2999):
            word, thread = divmod(element, threads)
            words = philox4x32((3 * call + word // 4, 0, thread, 0), (9, 5))
            assert np.exp(-row[element]) == pytest.approx((words[word % 4] + 0.5) / 2**32, rel=1e-12)


@pytest.mark.parametrize("settings", [{}, {"top_k": 5}, {"top_p": 0.7}, {"min_p": 0.1, "top_p": 0.9, "top_k": 30}])
def test_what_vllm_draws_on_a_cpu_is_found_again(settings):
    torch = pytest.importorskip("torch")
    from support.vllm_engine import draw, masked

    given = {"temperature": 0.7, "top_p": 1.0, "top_k": 0, "min_p": 0.0, **settings}
    generators = [torch.Generator().manual_seed(seed) for seed in (3, 4)]
    noises = [torch_exponentials(seed, 500) for seed in (3, 4)]
    for row in np.random.default_rng(0).normal(0, 2.5, (30, 500)).astype(np.float32):
        logits = masked(torch.from_numpy(row).expand(2, -1), **given)
        for token, noise in zip(draw(logits, generators), noises, strict=True):
            able = distribution(row, SamplerSettings(**given), "vllm")
            assert np.flatnonzero(np.isfinite(logits[0].numpy())).tolist() == sorted(able.tokens.tolist())
            assert gumbel_margin(able, token, next(noise), 0.7) == (token, 0.0)


def audit(folder, log, *words):
    from intact.cli.app import app

    words = ["audit", str(log), "--model", str(folder / "claimed.gguf"), "--threads", "1", "--json", *map(str, words)]
    result = CliRunner().invoke(app, words, prog_name="intact", catch_exceptions=False)
    return result.exit_code, json.loads(result.stdout) if result.exit_code < 2 else result.stderr


def outputs(path, model, start, prompts=3, claims=None, noise=0.02, **settings):
    """A log of `RequestOutput`s, three answers each, drawn by another PyTorch program."""
    from support.vllm_engine import answer, request_output

    lines = []
    for i in range(start, start + prompts):
        given = SETTINGS | {"seed": 100 * i} | settings
        prompt = [*PROMPT, 140 + i]
        texts = answer(model, prompt, COUNT, 3, noise, **given)
        lines.append(request_output(model, prompt, texts, given | (claims or {}), noise) | {"device": "cpu"})
    path.write_text("\n".join(map(json.dumps, lines)))
    return path


@pytest.fixture(scope="module")
def known(folder, models):
    pytest.importorskip("torch")
    return outputs(folder / "known.jsonl", models["claimed"], 20, prompts=6)


def test_an_honest_log_fits_token_by_token(folder, models, known):
    exact = outputs(folder / "exact.jsonl", models["claimed"], 0, noise=0.0)
    code, report = audit(folder, exact, "--honest", known)
    assert code == 0
    findings = {finding["kind"]: finding for finding in report["findings"]}
    assert set(findings) == {"gumbel", "likelihood", "logprobs"}
    assert findings["gumbel"]["matches"] == 1.0
    assert findings["gumbel"]["tokens"] == 9 * COUNT
    assert findings["logprobs"]["tokens"] == 9 * (COUNT + len(PROMPT))  # the prompt's, but for the first
    assert findings["logprobs"]["score"] < 1e-3
    code, report = audit(folder, outputs(folder / "honest.jsonl", models["claimed"], 0), "--honest", known)
    assert code == 0


@pytest.mark.parametrize(
    ("who", "claims"), [("other", None), ("claimed", {"seed": 12345}), ("claimed", {"temperature": 1.5})]
)
def test_an_altered_log_does_not(folder, models, known, who, claims):
    code, report = audit(folder, outputs(folder / "altered.jsonl", models[who], 0, claims=claims), "--honest", known)
    assert code == 1
    suspicious = {finding["kind"] for finding in report["findings"] if finding["suspicious"]}
    assert "gumbel" in suspicious
    assert ("logprobs" in suspicious) == (who == "other")


def test_the_prompt_s_log_probabilities_alone_tell_another_model(folder, models, known):
    pytest.importorskip("torch")
    from support.vllm_engine import dicts, told

    rng = np.random.default_rng(4)
    for who, expected in (("claimed", 0), ("other", 1)):
        lines = []
        for _ in range(3):
            prompt = rng.integers(3, 250, 60).tolist()
            some = [None, *dicts(models[who].tokenizer, prompt[1:], told(models[who], prompt, 0.02))]
            body = {"choices": [{"text": "", "token_ids": [], "prompt_token_ids": prompt, "prompt_logprobs": some}]}
            lines.append({"engine": "vllm", "request": {"prompt": "", "temperature": 0}, "response": body})
        path = folder / "prompts.jsonl"
        path.write_text("\n".join(map(json.dumps, lines)))
        code, report = audit(folder, path, "--honest", known)
        assert code == expected
        assert [(finding["kind"], finding["tokens"]) for finding in report["findings"]] == [("logprobs", 177)]


def write(tmp_path, record):
    path = tmp_path / "log.jsonl"
    path.write_text(json.dumps(record))
    return path


def exchange(*choices, request=None, **response):
    asked = {"prompt": PROMPT, "temperature": 0.5, "seed": 3, "logprobs": 1, "n": len(choices)} | (request or {})
    return {
        "engine": "vLLM 0.10",
        "device": "cuda",
        "request": asked,
        "response": {"choices": list(choices), **response},
    }


def test_completions_with_named_tokens_are_read(tmp_path):
    told = {"tokens": ["token_id:12", "token_id:7"], "token_logprobs": [-0.5, -1.5], "top_logprobs": [{}, {}]}
    some = [None, {"77": {"logprob": -2.0, "rank": 3, "decoded_token": "M"}, "5": {"logprob": -1.0, "rank": 1}}]
    choice = {"text": "ab", "logprobs": told, "prompt_logprobs": some, "prompt_token_ids": [40, 77]}
    first, second = read_log(write(tmp_path, exchange(choice, choice)))
    assert first.output == (12, 7)
    assert first.token_bytes is None
    assert first.logprobs == (-0.5, -1.5)
    assert first.prompt == (40, 77)
    assert first.prompt_logprobs == (None, {77: -2.0, 5: -1.0})
    assert (first.device, first.batch, second.batch) == ("cuda", 1, 1)
    assert (first.settings.seed, second.settings.seed) == (3, 4)
    assert kind_of(first) == "gumbel"


def test_chats_with_token_ids_are_read(tmp_path):
    content = [{"token": "token_id:12", "logprob": -0.5, "bytes": [239, 191, 189], "top_logprobs": []}]
    choice = {"message": {"role": "assistant", "content": "a"}, "logprobs": {"content": content}, "token_ids": [12]}
    request = {"prompt": None, "messages": [{"role": "user", "content": "Hi"}], "logprobs": True, "top_logprobs": 1}
    record = exchange(choice, request=request, prompt_token_ids=[1, 2], prompt_logprobs=[None, {"2": {"logprob": -1}}])
    (entry,) = read_log(write(tmp_path, record))
    assert (entry.output, entry.prompt, entry.logprobs) == ((12,), (1, 2), (-0.5,))
    assert entry.prompt_logprobs == (None, {2: -1.0})
    del choice["token_ids"]  # then the names tell, not the bytes, which may be half of a character's
    (entry,) = read_log(write(tmp_path, record))
    assert entry.output == (12,)


def test_an_echoed_prompt_is_no_answer(tmp_path):
    told = {"tokens": ["a", "b", "c"], "token_logprobs": [None, -1.0, -2.0]}
    record = exchange({"text": "abc", "logprobs": told}, request={"echo": True}, usage={"prompt_tokens": 2})
    (entry,) = read_log(write(tmp_path, record))
    assert (entry.token_bytes, entry.logprobs, entry.text) == ((b"c",), (-2.0,), None)


def test_several_prompts_are_answered_in_order(tmp_path):
    choices = [{"text": text, "token_ids": [index]} for index, text in enumerate("abcd")]
    entries = read_log(write(tmp_path, exchange(*choices, request={"prompt": [[1, 2], [3]], "n": 2})))
    assert [(entry.prompt, entry.output, entry.settings.seed) for entry in entries] == [
        ((1, 2), (0,), 3),
        ((1, 2), (1,), 4),
        ((3,), (2,), 3),
        ((3,), (3,), 4),
    ]


def test_without_a_device_or_a_seed_the_draws_are_unknown(tmp_path):
    record = exchange({"text": "a", "token_ids": [1]})
    del record["device"]
    (entry,) = read_log(write(tmp_path, record))
    assert kind_of(entry) == "likelihood"
    (entry,) = read_log(write(tmp_path, exchange({"text": "a", "token_ids": [1]}, request={"seed": None})))
    assert kind_of(entry) == "likelihood"


def test_a_temperature_that_vllm_raises_is_raised(tmp_path):
    (entry,) = read_log(write(tmp_path, exchange({"text": "a", "token_ids": [1]}, request={"temperature": 0.005})))
    assert entry.settings.temperature == 0.01


@pytest.mark.parametrize(
    ("record", "message"),
    [
        ({"outputs": []}, "outputs must be a list of objects"),
        ({"outputs": [{"token_ids": [1], "logprobs": []}]}, "must be lists of equal length"),
        ({"outputs": [{"token_ids": [1], "logprobs": [{"2": -1}]}]}, r"logprobs\[0\] has no entry for token 1"),
        ({"outputs": [{"token_ids": [1]}], "sampling_params": 3}, "sampling_params must be an object"),
        ({"outputs": [{"token_ids": [1]}], "sampling_params": {"min_tokens": 4}}, "min_tokens is 4"),
        ({"outputs": [{"token_ids": [1]}], "sampling_params": {"bad_words": ["x"]}}, "bad_words is"),
        ({"outputs": [{"token_ids": [1]}], "prompt_logprobs": [{"x": -1}]}, "must map token ids"),
        ({"outputs": [{"token_ids": [1]}], "prompt_logprobs": ["x"]}, r"prompt_logprobs\[0\] must be a log-prob"),
        ({"outputs": [{"token_ids": [1]}], "device": "tpu"}, "device must be one of cpu, cuda"),
        ({"outputs": [{"token_ids": [1]}], "device": "cuda", "gpu_threads": 3}, "gpu_threads must be an integer"),
        (exchange({"text": "a"}, request={"echo": True}), "with echo, usage.prompt_tokens must give"),
        (exchange({"text": "a"}, request={"prompt": ["a", "b"]}), "got 1 choices for 2 prompts"),
    ],
)
def test_what_is_wrong_is_named(tmp_path, record, message):
    named = {"temperature": 0.5, "prompt_token_ids": [1, 2]}
    with pytest.raises(LogError, match=message):
        read_log(write(tmp_path, record if "request" in record else named | record))


def test_log_probabilities_of_another_prompt_are_no_verdict(folder, tmp_path):
    record = {"temperature": 0, "prompt_token_ids": PROMPT, "outputs": [{"token_ids": [3] * 16}]}
    for given, message in (
        ([None] * 3, "3 prompt_logprobs for a prompt of 6"),
        ([None] + [{"1": -1}] * 5, "has no entry for token"),
    ):
        code, told = audit(folder, write(tmp_path, record | {"prompt_logprobs": given}))
        assert code == 2
        assert message in " ".join(told.split())
