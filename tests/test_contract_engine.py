"""The contract under everything that the engine does: company, order, pages, cache, preemption, drafts, forks.

Whole completions (tokens, log-probabilities, text, likeliest tokens, end) of requests of many kinds are compared with
those of the plainest run: alone, on one thread of the plainest tier, the prompt whole, nothing cached, nothing drafted.
Counters show that each setting took effect.
"""

import random
import re
from collections import Counter
from functools import cache
from itertools import combinations, product
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

import intact
from intact.engine.draft.union import Union
from intact.engine.drafting import DRAFTERS, HEADS, Drafting
from intact.executors.native import available_tiers
from support.architectures import FIRST, representatives
from support.asks import Ask, Prophet, completions, job_of, preempting, together
from support.drafting import draft_model
from support.eagle import certain_values, write_eagle, write_model
from support.heads import write_certain_folder
from support.models import real_model
from support.settings import WHOLE, all_pairs
from support.tally import Eager
from support.tiny import write_tiny

pytest.importorskip("llguidance")

TIERS = tuple(available_tiers())
VOCABULARY = 301
PROMPT = tuple((53 * i * i + 7 * i + 40) % 256 + 3 for i in range(70))  # beyond Gemma's window of 24
DRAWN = 24
SCHEMA = {
    "type": "object",
    "properties": {"a": {"enum": ["x", "yes", "z"]}, "b": {"type": "boolean"}},
    "required": ["a", "b"],
    "additionalProperties": False,
}
LONG = {"max_tokens": DRAWN, "ignore_eos": True}
KINDS = {
    "greedy": Ask(PROMPT, LONG),
    "sampled": Ask(PROMPT, LONG | {"temperature": 0.9, "top_p": 0.95, "top_k": 60, "min_p": 0.002, "seed": 11}),
    "several": Ask(PROMPT[:50], LONG | {"temperature": 0.7, "seed": 5, "top_logprobs": 3}, n=3),
    "typical": Ask(PROMPT[:64], LONG | {"temperature": 1.2, "typical_p": 0.8}),
    "penalised": Ask(
        PROMPT[:40],
        {"max_tokens": DRAWN, "temperature": 0.8, "repetition_penalty": 1.3, "presence_penalty": 0.5, "min_tokens": 9}
        | {"frequency_penalty": 0.3, "logit_bias": {2: 20.0, 50: 3.5, 60: -4.0, 70: float("-inf")}},
        n=2,
    ),
    "regex": Ask(PROMPT[:33], {"max_tokens": DRAWN, "temperature": 1.0, "regex": "[a-z ]{3,12}(0|[1-9][0-9]){2}"}, n=2),
    "guided": Ask(
        PROMPT[:40],
        LONG | {"temperature": 0.9, "top_p": 0.9, "frequency_penalty": 0.2, "top_logprobs": 2, "stop_below": 0.0001},
        n=3,
        mix={"name": "guidance", "scale": 1.75},
        shadow=(*PROMPT[:18], 9, 77),
    ),
    "unsure": Ask(
        PROMPT[:36],
        {"max_tokens": DRAWN, "temperature": 1.0, "regex": "[a-z ]{3,12}(0|[1-9][0-9]){2}"},
        n=2,
        mix={"name": "uscd", "deviation": 0.05},
        shadow=PROMPT[5:30],
    ),
    "hopeless": Ask(
        PROMPT[:45], LONG | {"temperature": 1.2, "seed": 3, "stop_mean_below": -4.0, "stop_window": 7}, n=3
    ),
    "schema": Ask(PROMPT[:21], {"max_tokens": 40, "temperature": 0.5, "json_schema": SCHEMA}),
}  # fmt: skip
FACTORS = {
    "tier": TIERS,
    "threads": (1, 2),
    "page_size": (16, 32, 64),
    "chunk": (WHOLE, 1, 7, 64),
    "rows": (WHOLE, 90, 5),
    "company": (0, 6, 63),
    "place": (0.0, 0.5, 1.0),
    "every": (0, 2),
    "cached": ("off", "cold", "warm", "evicted", "restarted"),
    "capped": (False, True),
    "preempted": (False, True),
    "drafter": ("off", "prophet", "auto", "lookup", "recycling", "stand", "model", "union"),
    "priority": (0, 3, -3),
}
ARCHITECTURES = representatives()
CODED = (("llama", "int8+kv-int4"), ("gemma3", "int8+kv-int84"))
MODELS = (*product(ARCHITECTURES, ("int8",)), ("llama", "fp32"), ("gemma3", "fp32"), *CODED)
HEADED = {"heads": {"drafter": HEADS}, "eagle3": {"drafter": "model"}}
"""Drafters that are a head of one model, by which these models are called, and how it is loaded with them."""
HEADED_FACTORS = FACTORS | {
    "tier": TIERS[-1:],
    "page_size": (16, 64),
    "chunk": (WHOLE, 7),
    "rows": (WHOLE, 5),
    "company": (0, 63),
    "drafter": tuple(HEADED),
    "place": (0.5,),
    "priority": (0,),
}
"""Fewer values, so that there are few rows: what a head has of its own is the cache and what it is given of steps."""


def strangers(count):
    """Requests of all kinds, some of which begin as the others' prompts do."""
    draw = random.Random(count)
    kinds = [
        {},
        {"temperature": 1.1},
        {"temperature": 0.6, "top_k": 9, "frequency_penalty": 0.4},
        {"regex": "[a-f]{2,9}", "temperature": 1.0},
        {"logit_bias": {9: 5.0}, "repetition_penalty": 1.2},
        {"top_logprobs": 2, "temperature": 0.9, "typical_p": 0.7},
    ]
    asks = []
    for i in range(count):
        own = tuple(draw.randrange(3, 259) for _ in range(draw.randint(1, 20)))
        fields = kinds[i % len(kinds)] | {"max_tokens": draw.randint(2, 9), "seed": i}
        shared = PROMPT[: draw.choice((0, 0, 17, 48))]
        asks.append(Ask((*shared, *own), fields, n=1 + (i % 11 == 0), priority=draw.choice((0, 0, 0, 1, -1, 4))))
    return asks


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    """Path of a tiny model of an architecture, or of one with a head that is often right."""
    folder = tmp_path_factory.mktemp("tiny")

    @cache
    def path(architecture):
        if architecture == "heads":
            return write_certain_folder(folder / "heads", "qwen3-next", 0.15)
        if architecture == "eagle3":
            model = write_model(folder / "eagle3", 0.02)
            write_eagle(model / "head", certain_values(model))
            return model
        return write_tiny(folder / f"{architecture}.gguf", architecture, context=256)

    return path


@pytest.fixture(scope="module")
def expected(tiny):
    """What the plainest run gives, by architecture and profile."""

    @cache
    def outcomes(architecture, profile="int8"):
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("INTACT_ISA", TIERS[0])
            plain = {"chunk": WHOLE, "rows": WHOLE, "prefix_cache": False, "drafter": "off"}
            model = intact.load(tiny(architecture), profile, threads=1, **plain)
        found = {}
        for name, ask in KINDS.items():
            (found[name],) = together(model, [ask])
        counters = model.engine.counters
        assert counters.cached_tokens == counters.preemptions == counters.drafted == 0
        assert counters.largest_step == len(PROMPT)
        return found

    return outcomes


def load(path, profile, row, texts, folder=None):
    """A model under a row of settings, with pages in a folder if one is given."""
    options = {"threads": row["threads"], "page_size": row["page_size"], "chunk": row["chunk"], "rows": row["rows"]}
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("INTACT_ISA", row["tier"])
        if row["capped"]:  # as many pages as the longest sequence needs, and one
            page_bytes = intact.load(path, profile, threads=1, page_size=row["page_size"]).executor.page_bytes
            options["cache_bytes"] = page_bytes * (-(-(len(PROMPT) + DRAWN) // row["page_size"]) + 1)
        options |= HEADED.get(row["drafter"], {"drafter": "off"})
        if row["drafter"] == "eagle3":
            options["draft_model"] = path / "head"
        model = intact.load(path, profile, prefix_cache=folder or row["cached"] != "off", **options)
    description = model.executor.description
    assert (description["tier"], description["threads"]) == (row["tier"], row["threads"])
    engine = model.engine
    if row["drafter"] in HEADED:
        engine.drafting = Drafting(engine.drafting.drafter, Eager())
    elif row["drafter"] != "off":
        trees = model.executor.trees
        drafter = {
            "prophet": lambda: Prophet(texts, trees, VOCABULARY),
            "model": lambda: draft_model(path, VOCABULARY, trees),
            "union": lambda: Union([DRAFTERS["auto"](VOCABULARY, trees), draft_model(path, VOCABULARY, trees)]),
        }.get(row["drafter"], lambda: DRAFTERS[row["drafter"]](VOCABULARY, trees))()
        engine.drafting = Drafting(drafter, Eager())
    return model


def check(path, profile, row, expected):
    """Run all kinds of requests under a row of settings."""
    if row["cached"] != "restarted":
        return _check(path, profile, row, expected)
    with TemporaryDirectory() as folder:
        return _check(path, profile, row, expected, folder)


def _check(path, profile, row, expected, folder=None):
    texts = [[*KINDS[name].prompt, *sample.tokens] for name, samples in expected.items() for sample in samples]
    asks = [ask._replace(priority=row["priority"]) for ask in KINDS.values()]
    if folder is not None:
        with load(path, profile, row, texts, folder) as model:
            together(model, asks)
    model = load(path, profile, row, texts, folder)
    engine = model.engine
    counters = engine.counters
    others = strangers(row["company"])
    place = round(row["place"] * len(others))
    if row["cached"] in ("warm", "evicted"):
        together(model, asks)
        if row["cached"] == "evicted":
            assert engine.index.evict(engine.index.idle) > 0
            assert engine.pool.used == 0
    before = counters.as_dict()

    def run():
        if others:
            found = together(model, [*others[:place], *asks, *others[place:]], row["every"])
            return found[place : place + len(asks)]
        return [together(model, [ask])[0] for ask in asks]

    if row["preempted"]:
        slow = min(row["chunk"], row["rows"]) < 7
        with preempting(model, 2 if others else 4 if slow else DRAWN) as taken:
            found = run()
        assert sum(taken) > 2 * len(asks)
        if not others:
            assert run() == found  # undisturbed, with steps to draft in
    else:
        found = run()
    assert dict(zip(KINDS, found, strict=True)) == expected

    did = {name: count - before[name] for name, count in counters.as_dict().items()}
    assert did["largest_step"] + before["largest_step"] <= min(row["rows"], WHOLE)
    assert engine.scheduler.chunk == min(row["chunk"], row["rows"])
    if row["company"] == 63 and not row["capped"] and not row["every"] and min(row["rows"], row["chunk"]) > 7:
        assert counters.largest_step > 40
    if row["cached"] == "off":
        assert counters.cached_tokens == 0
    if folder is not None:
        assert engine.stores[0].counts.read > 0
        assert engine.stores[0].counts.damaged == 0
    if row["cached"] in ("warm", "restarted") and not row["capped"]:
        full = sum((len(ask.prompt) - 1) // row["page_size"] * row["page_size"] for ask in asks)
        assert did["cached_tokens"] >= full > 0
    if row["capped"]:
        assert engine.pool.used <= engine.pool.capacity < 8
        assert not row["company"] or did["preemptions"] > 0 or engine.index.evictions > 0
    elif not row["preempted"]:
        assert did["preemptions"] == 0
    # A text that loses its pages with every token has hardly a step to draft in.
    scarce = row["preempted"] and (row["capped"] or row["drafter"] == "stand")
    if row["drafter"] == "off":
        assert counters.drafted == 0
    elif not (others or row["drafter"] == "lookup" or scarce):
        assert did["drafted"] > did["accepted"] or (did["drafted"] > 0 and row["drafter"] == "model")  # it is the same
        assert did["accepted"] > 0 or row["drafter"] not in ("prophet", *HEADED)
    engine.close()
    assert engine.pool.used == 0
    model.close()  # pages are written to the folder until then
    return did


@cache
def rows(seed):
    """Settings in which each pair meets and each value meets every model."""
    return all_pairs(FACTORS | {"model": MODELS}, seed, tries=150)


@cache
def dealt(tiers=TIERS):
    """Settings in which each pair meets, dealt out to the models.

    All pairs but those with two threads, which one row of each drafter has, that of the fewest steps: waiting for each
    other they take ten times the processor time on a busy machine.
    """
    few = all_pairs(FACTORS | {"tier": tiers, "threads": (1,)}, 0, tries=150)
    fewest = {row["drafter"]: row for row in sorted(few, key=lambda row: (-row["company"], row["chunk"]))}
    few = [row | {"threads": 2 if row is fewest[row["drafter"]] else 1} for row in few]
    return {model: few[i :: len(MODELS)] for i, model in enumerate(MODELS)}


@cache
def dealt_twice():
    """Settings in which each pair meets twice, dealt out to the models."""
    few = [row for seed in (0, 1) for row in all_pairs(FACTORS, seed, tries=150)]
    return {model: few[i :: len(MODELS)] for i, model in enumerate(MODELS)}


def test_the_page_lists_the_axes():
    page = (Path(__file__).parent.parent / "docs" / "spec" / "contract.md").read_text()
    table = page.partition("<!-- axes -->")[2].partition("<!-- end of axes -->")[0]
    named = [
        name for row in table.splitlines() for name in re.findall(r"`(\w+)`", row.rpartition("|")[0].rpartition("|")[2])
    ]
    assert sorted(named) == sorted([*FACTORS, "model"])


def assert_all_pairs(settings, factors):
    for a, b in combinations(factors, 2):
        assert {(row[a], row[b]) for row in settings} == set(product(factors[a], factors[b]))


@pytest.mark.parametrize("held", range(1, 7))
def test_all_pairs_are_dealt_out(held):
    """However many tiers a machine holds."""
    tiers = ("scalar", *(f"tier{i}" for i in range(1, held)))
    shares = dealt(tiers)
    rows = [row for share in shares.values() for row in share]
    assert_all_pairs(rows, {name: values for name, values in (FACTORS | {"tier": tiers}).items() if name != "threads"})
    assert {row["threads"] for row in rows} == set(FACTORS["threads"])
    assert min(map(len, shares.values())) > 0


@pytest.mark.slow
def test_all_pairs_are_dealt_out_twice():
    assert_all_pairs([row for share in dealt_twice().values() for row in share], FACTORS)
    assert min(map(len, dealt_twice().values())) > 2


@pytest.mark.nightly
def test_all_pairs_are_covered():
    assert_all_pairs(rows(0), FACTORS | {"model": MODELS})
    assert len(rows(0)) < 1.1 * len(MODELS) * len(FACTORS["drafter"])  # no fewer than the product can do


def check_rows(settings, path, profile, wanted):
    """Check rows of settings; return what was done under them together."""
    sums = Counter()
    for row in settings:
        try:
            sums.update(check(path, profile, row, wanted))
        except AssertionError as error:
            error.add_note(f"under {row}")
            raise
    return sums


def assert_all_was_done(sums):
    for name in ("shared_draws", "cache_hits", "preemptions", "drafted", "accepted"):
        assert sums[name] > 20


@pytest.mark.parametrize(("architecture", "profile"), MODELS)
def test_no_pair_of_settings_changes_a_bit(tiny, expected, architecture, profile):
    check_rows(dealt()[architecture, profile], tiny(architecture), profile, expected(architecture, profile))


@pytest.mark.slow
@pytest.mark.parametrize(("architecture", "profile"), MODELS)
def test_no_pair_of_settings_changes_a_bit_twice(tiny, expected, architecture, profile):
    check_rows(dealt_twice()[architecture, profile], tiny(architecture), profile, expected(architecture, profile))


@pytest.mark.nightly
@pytest.mark.parametrize("seed", [0, 1])
@pytest.mark.parametrize(("architecture", "profile"), MODELS)
def test_no_pair_of_settings_and_models_changes_a_bit(tiny, expected, architecture, profile, seed):
    own = [row for row in rows(seed) if row["model"] == (architecture, profile)]
    assert_all_was_done(check_rows(own, tiny(architecture), profile, expected(architecture, profile)))


@cache
def headed_rows():
    """Settings of both models with heads, in which each pair meets."""
    return all_pairs(HEADED_FACTORS, 0, tries=150)


@pytest.mark.parametrize("drafter", HEADED)
def test_settings_change_no_bit_where_a_head_drafts(tiny, expected, drafter):
    first, *_ = (row for row in headed_rows() if row["drafter"] == drafter and row["threads"] == 1)
    check_rows([first], tiny(drafter), "int8", expected(drafter))


@pytest.mark.slow
@pytest.mark.parametrize("drafter", HEADED)
def test_no_pair_of_settings_changes_a_bit_where_a_head_drafts(tiny, expected, drafter):
    assert len(headed_rows()) < 16
    own = [row for row in headed_rows() if row["drafter"] == drafter]
    assert_all_was_done(check_rows(own, tiny(drafter), "int8", expected(drafter)))


def test_the_outcomes_are_worth_comparing(expected):
    hopeless = [sample for architecture in ARCHITECTURES for sample in expected(architecture)["hopeless"]]
    assert {sample.finish for sample in hopeless} == {"unlikely", "length"}
    assert len({len(sample.tokens) for sample in hopeless}) > 9
    for architecture in ARCHITECTURES:
        found = expected(architecture)
        assert len({sample.tokens for samples in found.values() for sample in samples}) == sum(map(len, found.values()))
        assert all(len(set(sample.tokens)) > 3 for samples in found.values() for sample in samples), architecture
        assert [sample.finish for sample in found["regex"]] == ["stop"] * 2
        assert all(sum(map(len, sample.top)) == 3 * DRAWN for sample in found["several"])
    for architecture, profile in MODELS[len(ARCHITECTURES) :]:
        assert expected(architecture) != expected(architecture, profile)


@pytest.mark.parametrize(
    ("architecture", "profile", "cached"),
    [
        pytest.param(*model, cached, marks=[] if i % 2 == cached else pytest.mark.slow)
        for i, model in enumerate([*product(ARCHITECTURES, ("int8",)), CODED[0]])
        for cached in (True, False)
    ],
)
def test_preemption_before_every_token_changes_nothing(tiny, expected, architecture, profile, cached):
    model = intact.load(tiny(architecture), profile, threads=1, page_size=16, prefix_cache=cached, drafter="off")
    with preempting(model) as taken:
        found = together(model, list(KINDS.values()))
    assert dict(zip(KINDS, found, strict=True)) == expected(architecture, profile)
    drawn = sum(len(sample.tokens) - 1 for samples in found for sample in samples)
    together_drawn = model.engine.counters.shared_draws
    assert sum(taken) >= drawn - together_drawn - 20  # the ends of texts that end early are not taken
    assert len(taken) - taken.count(0) > DRAWN
    assert (model.engine.counters.cached_tokens > 0) == cached


@pytest.mark.parametrize("drafter", ["auto", "lookup", "recycling", "stand", "model", "auto and model"])
@pytest.mark.parametrize("profile", ["int8", pytest.param("fp32", marks=pytest.mark.slow)])
def test_the_library_s_own_drafting_changes_nothing(tiny, expected, profile, drafter):
    """With the controller that measures time: how much is drafted is chance."""
    small = tiny("llama") if "model" in drafter else None
    model = intact.load(tiny("llama"), profile, threads=1, drafter=drafter.partition(" ")[0], draft_model=small)
    for _ in range(3):
        assert [together(model, [ask])[0] for ask in KINDS.values()] == list(expected("llama", profile).values())


RULES = {
    "repetition": {"repetition_penalty": 1.6},
    "counts": {"presence_penalty": 0.5, "frequency_penalty": 2.0},
    "bias": {"logit_bias": {40: 6.0, 50: 5.0, 60: -4.0, 70: float("-inf")}},
    "least": {"min_tokens": 19, "logit_bias": {2: 100.0}},
    "regex": {"regex": "[a-z ]{12}(0|[1-9][0-9]){4}"},
    "schema": {"json_schema": SCHEMA},
    "grammar": {"grammar": 'start: "(" start ")" | /[a-z]{9}/', "frequency_penalty": 1.0},
}  # fmt: skip


@pytest.mark.parametrize("temperature", [0.0, 0.9])
@pytest.mark.parametrize("rules", RULES)
@pytest.mark.parametrize("profile", ["int8", pytest.param("fp32", marks=pytest.mark.slow)])
def test_drafts_are_judged_by_the_rules_of_their_place(tiny, profile, rules, temperature):
    """Penalties count what came before a node, minimum tokens end within a tree, each node has its own mask."""
    ask = Ask(PROMPT[:30], {"max_tokens": 40, "temperature": temperature} | RULES[rules])
    model = intact.load(tiny("llama"), profile, threads=1, drafter="off")
    (expected,) = together(model, [ask])
    (free,) = together(model, [ask._replace(fields={"max_tokens": 40, "temperature": temperature})])
    assert expected != free
    assert rules != "least" or len(expected[0].tokens) == 20
    text = [*ask.prompt, *expected[0].tokens]
    model.engine.drafting = Drafting(Prophet([text], model.executor.trees, VOCABULARY), Eager())
    before = model.engine.counters.steps
    for _ in range(3):
        assert together(model, [ask])[0] == expected
    counters = model.engine.counters
    assert counters.drafted > counters.accepted > len(expected[0].tokens)
    assert counters.steps - before == 3 * len(expected[0].tokens) - counters.accepted  # so many were saved


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_samples_equal_separate_requests(tiny, architecture):
    """Each sample's key, alone in a request."""
    model = intact.load(tiny(architecture), threads=1, page_size=16)
    many = KINDS["several"]._replace(n=9)
    (expected,) = together(model, [many])
    assert model.engine.counters.shared_draws == 0 or len({sample.tokens[0] for sample in expected}) < 9
    jobs = [job_of(model, many._replace(n=1)) for _ in range(9)]
    for i, job in enumerate(jobs):
        job.request.keys = [job_of(model, many).request.keys[i]]
        model.engine.add(job.request)
    while not all(job.done for job in jobs):
        model.engine.step()
    assert [completions(job)[0] for job in jobs] == expected


@pytest.mark.parametrize(
    ("architecture", "disturbed"),
    [
        pytest.param(name, disturbed, marks=[] if i % 2 == disturbed else pytest.mark.slow)
        for i, name in enumerate(ARCHITECTURES)
        for disturbed in (False, True)
    ],
)
def test_a_fork_equals_a_fresh_request_with_its_text(tiny, architecture, disturbed):
    model = intact.load(tiny(architecture), threads=1, page_size=16, drafter="off")
    engine = model.engine
    if disturbed:
        engine.drafting = Drafting(DRAFTERS["recycling"](VOCABULARY, True), Eager())
    ask = Ask(PROMPT[:45], LONG | {"temperature": 0.9, "seed": 2})
    job = job_of(model, ask)
    engine.add(job.request)
    for _ in range(7):
        engine.step()
    so_far, keys = list(job.writers[0].tokens), [3, 1 << 63, 12345]
    assert 0 < len(so_far) < DRAWN - 4
    forks = engine.fork(job.request, 0, keys)
    assert engine.counters.forks == 3
    if disturbed:
        engine.preempt()
        assert engine.held == 0
    while not job.done:
        engine.step()
    assert engine.held == 0
    text = [*ask.prompt, *so_far]
    alone = job_of(model, Ask(text, LONG | {"max_tokens": DRAWN - len(so_far), "temperature": 0.9}, n=3))
    alone.request.keys = list(keys)
    engine.add(alone.request)
    while not alone.done:
        engine.step()
    assert len({sample.tokens for sample in completions(alone)}) == 3
    for fork, sample in zip(forks, completions(alone), strict=True):
        forked = job.completion(fork, True)
        assert (forked.tokens, forked.logprobs) == (sample.tokens, sample.logprobs)
    (parent,) = together(intact.load(tiny(architecture), drafter="off"), [ask])[0]
    assert job.completion(0, True) == parent


@pytest.mark.parametrize(
    ("architecture", "threads"),
    [
        pytest.param(name, threads, marks=[] if threads == 1 or name in FIRST else pytest.mark.slow)
        for name, threads in product(ARCHITECTURES, (1, 2))
    ],
)
def test_pages_that_many_share_are_read_once_to_the_same_bits(tiny, architecture, threads):
    ask = Ask(PROMPT, LONG | {"temperature": 1.0}, n=12)
    model = intact.load(tiny(architecture), threads=threads, page_size=16, drafter="off")
    (found,) = together(model, [ask])
    assert model.executor.counters["shared_positions"] > 100
    alone = intact.load(tiny(architecture), threads=1, page_size=64, drafter="off", prefix_cache=False)
    for i, sample in enumerate(found):
        job = job_of(alone, ask)
        job.request.keys = job.request.keys[i : i + 1]
        alone.engine.add(job.request)
        while not job.done:
            alone.engine.step()
        assert completions(job)[0] == sample
    assert alone.executor.counters["shared_positions"] == 0


@pytest.mark.slow
def test_the_contract_holds_on_a_real_model():
    """A request alone, and among strangers under a cap, preempted, cached and drafted."""
    path = real_model("smollm2-135m")
    text = (
        "The water of the lake was still, and far away somebody was counting aloud: one, two, three, four, five, one,"
    )
    plain = intact.load(path, threads=1, prefix_cache=False, drafter="off")
    prompt = plain.tokenizer.encode(text)
    fields = {"max_tokens": 24, "temperature": 0.8, "top_p": 0.95, "seed": 4}
    asks = [Ask(prompt, {"max_tokens": 32}), Ask(prompt, fields, n=2), Ask(prompt, fields | {"regex": "[a-z ,]{9,}"})]
    expected = [together(plain, [ask])[0] for ask in asks]
    size = plain.program.vocabulary
    texts = [[*prompt, *sample.tokens] for samples in expected for sample in samples]
    model = intact.load(path, page_size=16, cache_bytes=3 * plain.executor.page_bytes, chunk=19, drafter="off")
    model.engine.drafting = Drafting(Prophet(texts, True, size), Eager())
    others = [Ask([500 + 13 * i, *prompt[: 3 * i]], {"max_tokens": 3 + i % 5, "temperature": 1.0}) for i in range(9)]
    for every in (0, 3):
        found = together(model, [*others[:4], *asks, *others[4:]], every)
        assert found[4:7] == expected
    assert [together(model, [ask])[0] for ask in asks] == expected
    counters = model.engine.counters
    assert min(counters.preemptions, counters.cached_tokens, counters.drafted - counters.accepted) > 0
    assert counters.accepted > 10
