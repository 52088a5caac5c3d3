"""A draft model: it draws as the model will, keeps its own cache right, and changes no bit."""

import gc

import numpy as np
import pytest

import intact
from intact._base.errors import ParameterError
from intact.engine.draft.base import DrawContext, Terms
from intact.engine.draft.draft_model import DEEPEST, LONG, DraftModel
from intact.engine.drafting import Drafting
from intact.numerics.sampling import branch_key, make_sampling
from support.asks import Ask, preempting, together
from support.drafting import draft_model
from support.tally import Eager
from support.tiny import write_tiny

VOCABULARY = 301
PROMPT = tuple((53 * i * i + 7 * i + 40) % 256 + 3 for i in range(50))
LONG_TEXT = {"max_tokens": 40, "ignore_eos": True}
FREE = Terms(0.0, float("inf"))


@pytest.fixture(scope="module")
def paths(tmp_path_factory):
    folder = tmp_path_factory.mktemp("models")
    return {seed: write_tiny(folder / f"tiny{seed}.gguf", seed=seed, context=256) for seed in (0, 1)}


def drafting_model(paths, drafter, seed=0, **options):
    """A model that drafts as much as it may by a draft model: its own weights (seed 0), or others."""
    model = intact.load(paths[0], threads=1, page_size=16, drafter="off", **options)
    model.engine.drafting = Drafting(drafter or draft_model(paths[seed], VOCABULARY), Eager())
    return model


ASKS = {
    "greedy": Ask(PROMPT, LONG_TEXT),
    "sampled": Ask(PROMPT, LONG_TEXT | {"temperature": 0.9, "top_p": 0.95, "seed": 3}),
    "penalised": Ask(PROMPT, LONG_TEXT | {"temperature": 1.0, "repetition_penalty": 1.4, "frequency_penalty": 0.7}),
    "regex": Ask(PROMPT, {"max_tokens": 40, "temperature": 1.0, "regex": "[a-z ]{20}(0|[1-9][0-9]){4}"}),
}


@pytest.fixture(scope="module")
def plain(paths):
    model = intact.load(paths[0], threads=1, drafter="off")
    return {name: together(model, [ask])[0] for name, ask in ASKS.items()}


@pytest.mark.parametrize("kind", ASKS)
def test_a_draft_model_of_the_same_weights_is_always_right(paths, plain, kind):
    """Greedy, sampled, under penalties and a constraint: it draws with the same numbers under the same rules."""
    pytest.importorskip("llguidance")
    model = drafting_model(paths, None)
    assert together(model, [ASKS[kind]])[0] == plain[kind]
    counters = model.engine.counters
    drawn = len(plain[kind][0].tokens)
    assert counters.accepted > 0.7 * drawn
    assert counters.decoded < 0.4 * drawn


def test_where_every_guess_is_right_each_token_runs_once_through_the_draft_model(paths, plain):
    """What was guessed and accepted stays in its cache: roll back goes no further than what was wrong."""
    model = drafting_model(paths, None)
    together(model, [ASKS["greedy"]])
    drafter = model.engine.drafting.drafter
    text = len(PROMPT) + len(plain["greedy"][0].tokens)
    assert text - DEEPEST <= drafter.rows <= text + model.engine.counters.decoded


@pytest.mark.parametrize("seed", [0, 1])
@pytest.mark.parametrize("count", [1, 8, 64])
def test_batches_preemption_and_forks_of_a_prompt_change_no_bit(paths, seed, count):
    ask = Ask(PROMPT, {"max_tokens": 12, "ignore_eos": True, "temperature": 0.8, "seed": 1}, n=count)
    (expected,) = together(intact.load(paths[0], threads=1, drafter="off"), [ask])
    model = drafting_model(paths, None, seed)
    assert together(model, [ask])[0] == expected
    with preempting(model, 3) as taken:
        assert together(model, [ask])[0] == expected
    assert sum(taken) > 0
    assert model.engine.counters.drafted > count
    assert seed or model.engine.counters.accepted > count


def test_samples_of_a_prompt_share_its_pages_in_the_draft_model(paths):
    drafter = draft_model(paths[1], VOCABULARY)
    model = drafting_model(paths, drafter)
    prompt = PROMPT * 3
    together(model, [Ask(prompt, {"max_tokens": 8, "ignore_eos": True, "temperature": 1.0}, n=16)])
    assert drafter.rows < 2 * len(prompt) + 16 * (8 * 2 + 16)  # each computes its last page and what it wrote


@pytest.mark.parametrize("pages", [1, 4, 7])
def test_a_full_cache_of_the_draft_model_costs_guesses_alone(paths, pages):
    page_bytes = intact.load(paths[1], threads=1, page_size=16).executor.page_bytes
    drafter = draft_model(paths[1], VOCABULARY, cache_bytes=pages * page_bytes)
    ask = Ask(PROMPT, {"max_tokens": 12, "ignore_eos": True, "temperature": 0.8}, n=5)
    (expected,) = together(intact.load(paths[0], threads=1, drafter="off"), [ask])
    assert together(drafting_model(paths, drafter), [ask])[0] == expected
    assert (drafter.steps > 0) == (pages > 3)
    gc.collect()
    drafter.index.evict(drafter.index.idle)
    assert drafter.index.pool.used == 0, "ended sequences hold no pages"


def test_a_draft_model_that_fails_drafts_no_more_and_ends_nobody(paths, plain, caplog):
    drafter = draft_model(paths[1], VOCABULARY)
    step, count = drafter.executor.step, iter(range(100))

    def failing(chunks, wanted):
        if next(count) > 5:
            raise MemoryError("no room")
        return step(chunks, wanted)

    drafter.executor.step = failing
    assert together(drafting_model(paths, drafter), [ASKS["greedy"]])[0] == plain["greedy"]
    assert next(count) == 7, "it is not asked again"
    assert "the draft model failed" in caplog.text


@pytest.mark.parametrize(("architecture", "profile"), [("llama", "fp32"), ("qwen3next", "int8")])
def test_beside_another_drafter_executors_without_trees_get_chains(paths, tmp_path, architecture, profile):
    path = write_tiny(tmp_path / "tiny.gguf", architecture, context=256)
    ask = Ask(PROMPT[:9] * 4, LONG_TEXT | {"temperature": 0.8})
    expected = together(intact.load(path, profile, threads=1, drafter="off"), [ask])
    model = intact.load(path, profile, threads=1, draft_model=paths[1])
    model.engine.drafting = Drafting(model.engine.drafting.drafter, Eager())
    step, trees = model.executor.step, []

    def watched(chunks, wanted):
        trees.extend(chunk.parents for chunk in chunks if chunk.parents is not None)
        return step(chunks, wanted)

    model.executor.step = watched
    assert together(model, [ask]) == expected
    assert model.engine.counters.drafted > 0
    assert trees == []


# What it costs


def clocked(paths, seconds, seed=0):
    """A draft model whose steps take so long, and its clock."""
    now = [0.0]
    drafter = draft_model(paths[seed], VOCABULARY)
    step = drafter.executor.step

    def slow(chunks, wanted):
        now[0] += seconds
        return step(chunks, wanted)

    drafter.executor.step = slow
    drafter.clock = lambda: now[0]
    return drafter, now


def write(drafter, steps, right, floor=0.1):
    """Let a draft guess beside a model whose step takes a second; return the seconds and tokens of it all."""
    draws = DrawContext(make_sampling(0.0), branch_key(0, ()), lambda: None)
    rng, text = np.random.default_rng(0), list(PROMPT[:20])
    draft = drafter.open(text, draws)
    tokens = 0
    for _ in range(steps):
        drafter.prepare([draft], [20], Terms(floor, 1.0))
        tree = draft.propose(20, floor)
        chain = (
            [token for token, parent in zip(tree.tokens, range(-1, 99), strict=False)] if tree and tree.is_chain else []
        )
        taken = [int(token) for token in chain] if right else []
        new = [*taken, int(rng.integers(3, 259))]
        tokens += len(new)
        draft.extend(new)
    return tokens


def test_it_rests_where_its_guesses_do_not_come_true(paths):
    drafter, now = clocked(paths, 0.3)
    drafter.trees = False
    tokens = write(drafter, 600, right=False)
    assert tokens == 600
    assert now[0] < 0.03 * 600 + 10, "three hundredths, and what it takes to find out"


def test_it_drafts_deeper_the_less_its_steps_cost(paths):
    depths = []
    for seconds in (0.02, 0.25, 0.9):
        drafter, now = clocked(paths, seconds)
        drafter.trees = False
        tokens = write(drafter, 60, right=True, floor=0.01)
        depths.append(tokens / 60)
        assert tokens / (60 + now[0]) > 0.95, "never slower than without"
    assert depths[0] > depths[1] > depths[2] * 0.99
    assert depths[0] > 4


def test_a_long_prompt_is_taken_in_without_debt(paths):
    drafter, _ = clocked(paths, 5.0)
    draft = drafter.open(list(PROMPT[: LONG + 5]))
    before = drafter._balance
    drafter.prepare([draft], [1], Terms(0.1, 1.0))
    assert drafter._balance >= before
    assert draft.tree is not None


# Loading


def test_a_draft_model_is_loaded_beside_the_model_and_closed_with_it(paths):
    with intact.load(paths[0], threads=1, draft_model=paths[1], drafter="model") as model:
        expected = intact.load(paths[0], threads=1, drafter="off").generate([5, 6, 7], max_tokens=30, temperature=0.7)
        assert model.generate([5, 6, 7], max_tokens=30, temperature=0.7) == expected
        drafter = model.engine.drafting.drafter
        assert isinstance(drafter, DraftModel)
        executor = drafter.executor
    with pytest.raises(AttributeError):
        executor.page_bytes  # noqa: B018


def test_a_draft_model_leaves_no_trace_in_a_receipt(paths):
    options = {"max_tokens": 30, "temperature": 0.7, "receipt": True}
    found = []
    for small in (None, paths[1]):
        with intact.load(paths[0], threads=1, draft_model=small) as model:
            found.append(model.generate("a b c", **options)[0][0].receipt)
    assert found[0] == found[1]


def test_another_vocabulary_is_refused_before_anything_runs(paths, tmp_path):
    other = write_tiny(tmp_path / "other.gguf", vocabulary=290)
    with pytest.raises(
        ParameterError, match=r"draft_model: other.gguf has a different vocabulary from tiny0.gguf: 290 tokens"
    ):
        intact.load(paths[0], draft_model=other)


def test_contradicting_drafters_are_refused(paths):
    with pytest.raises(ParameterError, match="needs a drafter, but drafter is 'off'"):
        intact.load(paths[0], draft_model=paths[1], drafter="off")
    with pytest.raises(ParameterError, match="'model' needs a draft model"):
        intact.load(paths[0], drafter="model")
