"""Scores are 0 for what the seed draws, by the engines' own samplers, and have the moments that verdicts rely on."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from intact.measure.audit.distribution import distribution, softmax
from intact.measure.audit.engines import family
from intact.measure.audit.generators import llama_uniforms, torch_exponentials
from intact.measure.audit.log import LogEntry, SamplerSettings
from intact.measure.audit.scores import gumbel_margin, inverse_distance, kind_of, surprise

ROW = np.log(np.array([0.4, 0.3, 0.15, 0.1, 0.05], np.float32))


def test_the_generator_is_the_standard_one():
    # [rand.predef]: the 10,000th output of a default-constructed std::mt19937, whose seed is 5489, is 4123659995
    number = llama_uniforms(5489, 5000)[-1] * 2.0**64
    assert int(number) >> 32 == 4123659995


@pytest.mark.parametrize(
    ("engine", "kept"),
    [
        ("llama.cpp", [0, 1]),  # top_p before the temperature: 0.4 + 0.3 reach 0.6
        ("transformers", [0, 1, 2]),  # after it the probabilities are flatter
        ("vllm", [0, 1, 2]),
        ("", [0, 1, 2]),
    ],
)
def test_truncation_follows_the_order_of_the_engine(engine, kept):
    able = distribution(ROW, SamplerSettings(2.0, top_p=0.6), engine)
    assert able.tokens.tolist() == kept
    np.testing.assert_allclose(able.logits, ROW[kept] / 2, rtol=1e-6)


def test_ties_go_to_the_least_id_and_min_p_keeps_what_is_large_enough():
    row = np.array([1.0, 3.0, 3.0, 2.0], np.float32)
    assert distribution(row, SamplerSettings(1.0, top_k=1), "llama.cpp").tokens.tolist() == [1]
    assert distribution(row, SamplerSettings(1.0, min_p=0.3), "llama.cpp").tokens.tolist() == [1, 2, 3]
    assert distribution(row, SamplerSettings(1.0), "llama.cpp").tokens.tolist() == [0, 1, 2, 3]


@pytest.mark.parametrize(
    ("engine", "name"), [("llama-cpp-python", "llama.cpp"), ("llama.cpp", "llama.cpp"), ("vllm", "vllm"), ("x", "")]
)
def test_engines_are_known_by_their_names(engine, name):
    assert family(engine) == name


@pytest.mark.parametrize(
    ("engine", "changes", "kind"),
    [
        ("llama.cpp", {}, "inverse"),
        ("transformers", {}, "gumbel"),
        ("vllm", {}, "likelihood"),
        ("", {}, "likelihood"),
        ("llama.cpp", {"seed": (1 << 32) - 1}, "likelihood"),  # stands for a random one
        ("transformers", {"seed": 1 << 200}, "likelihood"),
        ("transformers", {"seed": None}, "likelihood"),
        ("transformers", {"batch": 4}, "likelihood"),
        ("llama.cpp", {"temperature": 0.0}, "greedy"),
        ("vllm", {"temperature": 0.0}, "greedy"),
    ],
)
def test_the_seed_is_used_where_its_numbers_can_be_had_again(engine, changes, kind):
    batch = changes.get("batch", 1)
    named = {name: value for name, value in changes.items() if name != "batch"}
    settings = SamplerSettings(**{"temperature": 0.8, "seed": 7, **named})
    entry = LogEntry("log, line 1", engine, settings, (1,), (2,), None, None, None, batch)
    assert kind_of(entry) == kind
    assert kind_of(entry, ignore_seed=True) == ("greedy" if kind == "greedy" else "likelihood")


def test_the_distance_is_that_of_the_claimed_interval():
    able = distribution(ROW, SamplerSettings(1.0, top_k=5), "llama.cpp")
    assert inverse_distance(able, 1, 0.5) == (1, 0.0)
    drawn, distance = inverse_distance(able, 3, 0.5)  # its interval begins at 0.85
    assert (drawn, distance) == (1, pytest.approx(0.35, abs=1e-6))
    drawn, distance = inverse_distance(able, 0, 0.5)
    assert (drawn, distance) == (1, pytest.approx(0.1, abs=1e-6))
    cut = distribution(ROW, SamplerSettings(1.0, top_k=2), "llama.cpp")
    assert inverse_distance(cut, 4, 0.5)[1] == math.inf


def test_the_margin_is_in_logits_whatever_the_temperature():
    able = distribution(ROW, SamplerSettings(0.5), "transformers")
    noise = np.ones(5)
    assert gumbel_margin(able, 0, noise, 0.5) == (0, 0.0)
    drawn, margin = gumbel_margin(able, 2, noise, 0.5)
    assert (drawn, margin) == (0, pytest.approx(math.log(0.4 / 0.15), rel=1e-5))


def test_what_pytorch_draws_has_no_margin():
    torch = pytest.importorskip("torch")
    rng = np.random.default_rng(0)
    rows = rng.normal(0, 2, (40, 300)).astype(np.float32)
    torch.manual_seed(11)
    settings, noise = SamplerSettings(0.8, top_k=50), torch_exponentials(11, 300)
    for row in rows:
        able = distribution(row, settings, "transformers")
        p = np.zeros(300, np.float32)
        p[able.tokens] = able.probabilities
        token = int(torch.multinomial(torch.from_numpy(p)[None], 1)[0, 0])
        assert gumbel_margin(able, token, next(noise), 0.8) == (token, 0.0)


@pytest.mark.parametrize(
    "settings", [SamplerSettings(0.8, 0.95, 40, 0.05), SamplerSettings(1.3, 0.9), SamplerSettings(1.0, top_k=7)]
)
def test_what_llama_cpp_draws_has_no_distance(settings):
    c = pytest.importorskip("llama_cpp")
    chain = c.llama_sampler_chain_init(c.llama_sampler_chain_default_params())
    for part in (
        c.llama_sampler_init_top_k(settings.top_k),
        c.llama_sampler_init_top_p(settings.top_p, 1),
        c.llama_sampler_init_min_p(settings.min_p, 1),
        c.llama_sampler_init_temp(settings.temperature),
        c.llama_sampler_init_dist(42),
    ):
        c.llama_sampler_chain_add(chain, part)
    rows = np.random.default_rng(1).normal(0, 3, (60, 500)).astype(np.float32)
    for row, uniform in zip(rows, llama_uniforms(42, len(rows)), strict=True):
        data = (c.llama_token_data * 500)(*[(i, float(logit), 0.0) for i, logit in enumerate(row)])
        array = c.llama_token_data_array(data, 500, -1, False)
        c.llama_sampler_apply(chain, array)
        token = array.data[array.selected].id
        assert inverse_distance(distribution(row, settings, "llama.cpp"), token, uniform) == (token, 0.0)
    c.llama_sampler_free(chain)


@given(
    st.lists(st.floats(-8, 8, width=32), min_size=2, max_size=12),
    st.floats(0.2, 3),
    st.floats(0.3, 1),
    st.integers(0, 8),
)
def test_a_surprise_has_mean_zero_and_the_variance_it_says(logits, temperature, top_p, top_k):
    row = np.array(logits, np.float32)
    able = distribution(row, SamplerSettings(temperature, top_p, top_k), "transformers")
    told = [surprise(able, row, int(token), temperature) for token in able.tokens]
    p = able.probabilities
    assert sum(p * [value for value, _ in told]) == pytest.approx(0, abs=1e-9)
    assert sum(p * [value**2 for value, _ in told]) == pytest.approx(told[0][1], abs=1e-9)


def test_a_token_that_was_cut_off_has_a_finite_surprise():
    able = distribution(ROW, SamplerSettings(1.0, top_k=2), "")
    score, _ = surprise(able, ROW, 4, 1.0)
    p = softmax(ROW[:2].astype(np.float64))
    assert score == pytest.approx(-math.log(0.05) + p @ np.log([0.4, 0.3]), rel=1e-5)
