"""Texts of several streams: what is drawn is the definition's, and pages are shared where streams agree."""

import math

import numpy as np
import pytest

import intact
from intact._base.errors import CapacityError, ParameterError
from intact.engine.mixes import MIXES, chosen_mix
from intact.numerics.mix import Place
from intact.numerics.sampling import branch_key, draw, log_probability, make_sampling
from support.asks import preempting
from support.tiny import write_tiny

PROMPT = [(31 * i * i + 5 * i + 60) % 256 + 3 for i in range(53)]
SHADOW = [*PROMPT[:34], 8, 120, 65]
COUNT = 20


@pytest.fixture(scope="module")
def paths(tmp_path_factory):
    folder = tmp_path_factory.mktemp("models")
    return [write_tiny(folder / f"{seed}.gguf", name, seed=seed, context=256) for seed, name in enumerate(NAMES)]


NAMES = ("llama", "llama", "qwen2")


@pytest.fixture(scope="module")
def alone(paths):
    """The three models by themselves, which know of no mixes."""
    return [intact.load(path, threads=1, drafter="off") for path in paths]


def naive(models, name, sampling, key, count=COUNT, shadow=SHADOW, **values):
    """Draw token by token from whole passes over each stream's text; return tokens and log-probabilities."""
    chosen = chosen_mix({"name": name, **values})
    kinds, others = chosen.mix.streams, iter(models[1:])
    streams = [(models[0], list(PROMPT))]
    streams += [(models[0], list(shadow)) if kind == "shadow" else (next(others), list(PROMPT)) for kind in kinds]
    drawn, logprobs = [], []
    for i in range(count):
        rows = [model.logits([*prompt, *drawn], raw=True)[0][-1].copy() for model, prompt in streams]
        row = chosen.row(rows, Place(np.ones(len(rows[0]), bool), i))
        drawn.append(draw(row, sampling, key, len(PROMPT) + i))
        logprobs.append(log_probability(row, drawn[-1]))
    return drawn, logprobs


def asked(name, **values):
    options = {"mix": {"name": name, **values}, "max_tokens": COUNT, "ignore_eos": True, "logprobs": True, "ids": ["p"]}
    return options | ({"shadow": SHADOW} if "shadow" in MIXES[name].streams else {})


KINDS = [
    ("guidance", {"scale": 2.5}),
    ("guidance", {"scale": 0}),
    ("contrastive", {"beta": 1, "alpha": 0.05}),
    ("m3id", {"decay": 0.1}),
    ("uscd", {"deviation": 0.03}),
    ("uscd", {}),
    ("proxy", {"scale": 0.75}),
]


@pytest.mark.parametrize(("name", "values"), KINDS)
@pytest.mark.parametrize("temperature", [0.0, 0.9])
def test_what_is_drawn_is_the_definitions(paths, alone, name, values, temperature):
    partners = paths[1 : 1 + MIXES[name].streams.count("partner")]
    model = intact.load(paths[0], partners=partners, chunk=9, drafter="off")
    ((one, other),) = model.generate(PROMPT, n=2, temperature=temperature, seed=3, **asked(name, **values))
    for number, completion in enumerate((one, other)):
        key = branch_key(3, ("p", number))
        expected = naive(alone, name, make_sampling(temperature), key, **values)
        assert (list(completion.tokens), list(completion.logprobs)) == expected
    assert model.engine.held == 0
    assert model.engine.counters.decoded >= COUNT - 1


def test_a_mix_changes_texts_and_no_scale_of_one_does(alone):
    model = alone[0]
    plain = model.generate(PROMPT, max_tokens=COUNT, ignore_eos=True, ids=["p"], logprobs=True)
    assert model.generate(PROMPT, **asked("guidance", scale=1)) == plain
    assert model.generate(PROMPT, **asked("guidance", scale=3))[0][0].tokens != plain[0][0].tokens


def test_the_reference_executor_gives_the_same(paths):
    outcomes = [
        intact.load(paths[0], partners=paths[1:2], executor=executor).generate(
            PROMPT, temperature=0.8, **(asked("contrastive") | {"max_tokens": 4})
        )
        for executor in ("native", "reference")
    ]
    assert outcomes[0] == outcomes[1]


@pytest.mark.parametrize("profile", ["int8", "fp32"])
@pytest.mark.parametrize("threads", [1, pytest.param(2, marks=pytest.mark.slow)])
@pytest.mark.parametrize("cut", [{"chunk": 1, "rows": 3}, {"page_size": 16, "chunk": 5}, {"prefix_cache": False}])
def test_partners_keep_the_contract(paths, cut, profile, threads):
    """Chunks, rows, pages, company and preemption of texts whose streams are of three models."""
    plain = intact.load(paths[0], profile, partners=paths[1:], threads=1, drafter="off")
    ask = asked("proxy") | {"temperature": 1.0, "top_logprobs": 2}
    expected = plain.generate(PROMPT, n=3, **ask)
    model = intact.load(paths[0], profile, partners=paths[1:], threads=threads, **cut)
    with preempting(model, 2) as taken:
        assert model.generate([PROMPT, PROMPT[:30]], n=3, **(ask | {"ids": ["p", "q"]}))[0] == expected[0]
    assert sum(taken) > 3
    assert model.engine.held == 0


def test_streams_share_pages_where_their_texts_agree(paths):
    model = intact.load(paths[0], page_size=16, drafter="off")
    model.generate(PROMPT, **(asked("guidance") | {"max_tokens": 1}))
    counters = model.engine.counters
    assert counters.cached_tokens == 32  # of the shadow, which the prompt's first two pages begin
    assert counters.prefilled == len(PROMPT) + len(SHADOW) - 32
    model.generate(PROMPT, **(asked("guidance") | {"max_tokens": 1}))
    assert counters.prefilled == len(PROMPT) + len(SHADOW) - 32 + 10  # the last pages, which are not full


def test_known_tokens_of_several_streams_are_checked_together(alone):
    from intact.receipts.verify import verify

    model = alone[0]
    ((completion,),) = model.generate(PROMPT, receipt=True, temperature=0.7, **(asked("guidance") | {"max_tokens": 90}))
    before = model.engine.counters.steps
    (verdict,) = verify(model, [completion.receipt])
    assert (verdict.outcome, verdict.checked) == ("true", 90)
    assert model.engine.counters.steps - before < 9


def test_what_cannot_be_mixed_is_refused_before_it_runs(paths, tmp_path):
    model = intact.load(paths[0], partners=paths[1:2])
    with pytest.raises(ParameterError, match="the mix guidance needs a shadow prompt"):
        model.generate(PROMPT, mix="guidance")
    with pytest.raises(ParameterError, match="a shadow prompt needs a mix"):
        model.generate(PROMPT, shadow=SHADOW)
    with pytest.raises(ParameterError, match="the mix contrastive takes no shadow prompt"):
        model.generate(PROMPT, mix="contrastive", shadow=SHADOW)
    with pytest.raises(ParameterError, match="takes 2 partners, got 1"):
        model.generate(PROMPT, mix="proxy")
    with pytest.raises(ParameterError, match="shadow must have one prompt for each of the 2, got 1"):
        model.generate([PROMPT, PROMPT], mix="guidance", shadow=SHADOW)
    with pytest.raises(ParameterError, match=r"stream has 300 tokens; expected 1 to 255"):
        model.generate(PROMPT, mix="guidance", shadow=[5] * 300)
    with pytest.raises(ParameterError, match="stream has 0 tokens"):
        model.generate(PROMPT, mix="guidance", shadow=[[]])
    with pytest.raises(ParameterError, match="needs at least as many rows"):
        intact.load(paths[0], rows=1).generate(PROMPT, mix="guidance", shadow=SHADOW)
    other = write_tiny(tmp_path / "other.gguf", vocabulary=302)
    with pytest.raises(ParameterError, match=r"302 logits, but .* has 301: mixes need the same vocabulary"):
        intact.load(paths[0], partners=[other])
    with pytest.raises(ParameterError, match="partners must be a list"):
        intact.load(paths[0], partners=str(paths[1]))
    assert model.engine.counters.steps == 0


def test_the_longest_stream_decides_where_the_context_ends(alone):
    ((completion,),) = alone[0].generate([7, 8, 9], mix="guidance", shadow=[5] * 250, max_tokens=100, ignore_eos=True)
    assert (completion.finish, len(completion.tokens)) == ("context", 6)


def test_streams_that_do_not_fit_the_cache_end_with_an_error(paths):
    page = intact.load(paths[0]).executor.page_bytes
    model = intact.load(paths[0], cache_bytes=3 * page)
    with pytest.raises(CapacityError, match="raise cache_bytes"):
        model.generate(PROMPT, mix="guidance", shadow=PROMPT[::-1], max_tokens=40, ignore_eos=True)
    assert model.engine.held == 0
    ((fits,),) = model.generate(PROMPT[:20], mix="guidance", shadow=PROMPT[10:25], max_tokens=5, ignore_eos=True)
    assert len(fits.tokens) == 5


def test_samples_can_be_cancelled_and_the_model_closed(paths):
    model = intact.load(paths[0], partners=paths[1:2])
    stream = model.stream(PROMPT, mix="contrastive", max_tokens=50, ignore_eos=True)
    next(stream)
    assert model.engine.held > 0
    stream.close()
    assert model.engine.held == 0
    model.close()


@pytest.mark.parametrize("size", [400, 32_000, 49_152, 151_936])
def test_uscd_contrasts_unsure_rows_alone_by_default_whatever_the_vocabulary(size):
    """A fixed deviation of 0.005 contrasts every row from 40,000 tokens on, even a certain one."""
    everything, shadow = Place(np.ones(size, bool), 0), np.zeros(size, np.int32)
    shadow[1] = 1 << 16

    def is_contrasted(share):
        """If true, a row is contrasted whose likeliest token has this probability, and all others the rest."""
        row = np.zeros(size, np.int32)
        row[0] = round(65536 * math.log(share * (size - 1) / (1 - share)))
        return not np.array_equal(chosen_mix("uscd").row([row, shadow], everything), row)

    assert is_contrasted(0.5)
    assert is_contrasted(0.88)
    assert not is_contrasted(0.92)
