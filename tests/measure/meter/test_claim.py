"""Whether an endpoint serves the model that it claims: the audit's tests over its live answers."""

import asyncio

import pytest

import intact
from intact.measure.meter.apis.base import Question, Setting
from intact.measure.meter.claim import compare_with
from intact.measure.meter.client import MeteredEndpoint
from intact.measure.meter.questions import Questions
from intact.measure.meter.spending import Caps, Spending
from support.moody import Moody, serve
from support.serving import running
from support.tiny import write_tiny

PROMPTS = [f"How much is {n} plus {n}?" for n in range(8)]


@pytest.fixture(scope="module")
def paths(tmp_path_factory):
    folder = tmp_path_factory.mktemp("claim")
    return {
        name: write_tiny(folder / f"{name}.gguf", "qwen3", seed=seed, context=1024)
        for seed, name in enumerate(("claimed", "other"))
    }


@pytest.fixture(scope="module")
def exchanges(paths):
    """Answers of the claimed model, by API."""

    async def scene(url, api):
        async with MeteredEndpoint(url, Spending(Caps()), api=api) as endpoint:
            await endpoint.find(5)
            questions = Questions("run", PROMPTS, 16)
            settings = Setting(0.0), Setting(0.8, 3)
            probes = [probe for setting in settings for probe in questions.probes(0, 6, setting)]
            return [await endpoint.ask(probe) for probe in probes]

    with running({"tiny": paths["claimed"]}) as server:
        return {api: asyncio.run(scene(server.url, api)) for api in ("openai", "ollama", "anthropic")}


def test_the_claimed_model_gives_exactly_these_answers(paths, exchanges):
    with intact.load(paths["claimed"], threads=1) as model:
        found = compare_with(model, "claimed", exchanges["openai"])
    assert (found.greedy, found.equal, found.median_place) == (6, 6, None)
    assert found.tokens > 10 * 16
    assert found.largest_shift < 1e-4
    assert found.verdict == "consistent"


@pytest.mark.parametrize("api", ["openai", "ollama", "anthropic"])
def test_another_model_is_suspicious(paths, exchanges, api):
    with intact.load(paths["other"], threads=1) as model:
        found = compare_with(model, "other", exchanges[api])
    assert found.equal < found.greedy == 6
    assert found.verdict == "suspicious"
    assert "greedy" in found.why


def test_too_little_is_not_judged(paths, exchanges):
    with intact.load(paths["claimed"], threads=1) as model:
        found = compare_with(model, "claimed", [])
    assert (found.verdict, found.greedy, found.tokens) == ("unjudged", 0, 0)
    assert "nothing to compare" in found.why or "too little" in found.why


def test_samples_of_an_unknown_sampler_are_not_judged(paths, exchanges):
    with intact.load(paths["claimed"], threads=1) as model:
        found = compare_with(model, "claimed", exchanges["openai"], plain_sampling=False)
    assert (found.greedy, found.verdict) == (6, "consistent")
    assert found.tokens <= 6 * 16
    assert "likelihood" not in found.why


def test_a_sampler_counts_as_known_only_if_all_of_its_fields_are_taken():
    async def scene(moody):
        with serve(moody):
            async with MeteredEndpoint(moody.url, Spending(Caps())) as endpoint:
                await endpoint.find(5)
                await endpoint.ask(Question("", "x", Setting(0.8, 3), 8))
                return endpoint.plain_sampling

    assert asyncio.run(scene(Moody()))
    assert not asyncio.run(scene(Moody(refuse=("top_k",))))
    assert not asyncio.run(scene(Moody(refuse=("seed",))))
