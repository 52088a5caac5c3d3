"""Speed is measured on the work that is named, in rounds, on text that no cache has seen."""

from itertools import count
from types import SimpleNamespace

import pytest

import intact
from intact._base.errors import ParameterError
from intact.measure.bench import workloads
from intact.measure.bench.passage import STRIDE, TEXT, Passage
from intact.measure.bench.speed import Measurement, choose, measure
from intact.measure.bench.workloads import GROUPS, Metric, forks, mixed, mixed_lengths, prompt, samples, stream
from support.speaker import Tokenizer
from support.tiny import write_tiny

SMALL = [prompt(40), stream(8, 6), samples(3, 40, 5), forks(20, 70), mixed(6, 48, 16, 5)]


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    return intact.load(write_tiny(tmp_path_factory.mktemp("tiny") / "tiny.gguf"))


class Ticking:
    """A clock that moves on by one second a look."""

    def __init__(self):
        self.ticks = count(1000)

    def __call__(self):
        return float(next(self.ticks))


def test_pieces_of_the_passage_share_no_beginning():
    words = TEXT.split()
    assert len(words) % STRIDE
    passage = Passage(Tokenizer())
    pieces = [tuple(passage.piece(700)) for _ in range(2 * len(words) + 10)]
    assert {len(piece) for piece in pieces} == {700}
    assert len({piece[:32] for piece in pieces}) == len(pieces)


def test_a_piece_begins_with_the_token_that_the_model_wants_first():
    assert Passage(Tokenizer(adds_bos=True)).piece(5)[0] == Tokenizer.bos_id


def test_a_short_text_goes_round():
    assert bytes(Passage(Tokenizer(), "to and fro").piece(30)) == b"to and fro to and fro to and f"


@pytest.mark.parametrize("workload", SMALL, ids=lambda workload: workload.group)
def test_a_workload_gives_positive_figures_and_returns_its_pages(tiny, workload):
    values = workload.run(tiny, Passage(tiny.tokenizer))
    assert all(value.value > 0 for value in values if value.part != "between tokens, median")
    assert len({value.part for value in values}) == len(values)
    assert tiny.engine.held == 0


def test_workloads_say_what_they_do_and_the_positions_that_it_takes():
    made = [prompt(40), stream(8, 6), samples(3, 40, 5), forks(20, 70), mixed(6, 48, 16, 5), stream(8, 6, draft=True)]
    assert [(workload.title, workload.positions) for workload in made] == [
        ("prompt of 40", 41),
        ("one stream of 6, greedy", 14),
        ("3 x 5 after a prompt of 40", 45),
        ("20 forks of a prompt of 70", 72),
        ("6 requests, one by one", 64),
        ("one stream of 6, greedy, drafting", 14),
    ]


def test_rates_count_what_was_made(tiny, monkeypatch):
    monkeypatch.setattr(workloads, "clock", Ticking())
    passage = Passage(tiny.tokenizer)
    assert prompt(40).run(tiny, passage) == [Metric("", "tokens/s", 40.0)]
    assert stream(8, 6).run(tiny, passage) == [Metric("", "tokens/s", 1.0)]
    monkeypatch.setattr(tiny, "generate", lambda *_, **__: [[SimpleNamespace(tokens=(1,) * 5)] * 3])
    assert samples(3, 40, 5).run(tiny, passage) == [Metric("", "tokens/s", 15.0)]


def test_samples_are_drawn_at_temperature_1_with_their_log_probabilities(tiny, monkeypatch):
    asked = {}

    def generate(tokens, **parameters):
        asked.update(parameters, prompt=len(tokens))
        return [[SimpleNamespace(tokens=(1,))]]

    monkeypatch.setattr(tiny, "generate", generate)
    samples(3, 40, 5).run(tiny, Passage(tiny.tokenizer))
    assert asked["prompt"] == 40
    assert (asked["n"], asked["max_tokens"], asked["temperature"], asked["logprobs"]) == (3, 5, 1.0, True)


def test_a_stream_drafts_only_when_told(tiny):
    passage = Passage(tiny.tokenizer)
    for draft in (False, True):
        before = tiny.engine.counters.drafted
        stream(8, 40, draft).run(tiny, passage)
        assert draft or tiny.engine.counters.drafted == before


def test_forks_share_the_pages_of_their_prompt(tiny):
    before = tiny.engine.counters.forks
    values = {value.part: value.value for value in forks(20, 70).run(tiny, Passage(tiny.tokenizer))}
    assert tiny.engine.counters.forks == before + 40  # timed once, weighed once
    pages = -(-72 // tiny.executor.page_size)
    assert pages <= values["pages of all, prompt's included"] <= pages + 1
    assert 0 < values["memory of one"] < 10_000


def test_requests_of_a_mixed_load_arrive_while_others_are_under_way(tiny, monkeypatch):
    """Each is answered in full, and the longest are among the first."""
    lengths = mixed_lengths(6, 48, 16)
    assert max(prompt for prompt, _ in lengths) == 48
    assert len(set(lengths)) > 4
    monkeypatch.setattr(workloads, "clock", Ticking())
    values = {value.part: value.value for value in mixed(6, 48, 16, 5).run(tiny, Passage(tiny.tokenizer))}
    written = sum(max(1, answer) for _, answer in lengths)
    assert values[""] == written / (written + 6 + 1)  # looks at the clock: two around all, one an arrival, one a token
    assert values["between tokens, 95%"] > 1  # others wrote between


def test_the_first_round_does_not_count_and_progress_hears_of_every_run():
    class Counting:
        group, title, positions = "prompt", "counting", 1

        def __init__(self):
            self.runs = 0

        def run(self, model, passage):
            self.runs += 1
            return [Metric("", "tokens/s", float(self.runs)), Metric("late", "s", -float(self.runs))]

    work, heard = Counting(), []
    model = SimpleNamespace(tokenizer=Tokenizer())
    figures = measure(model, [work], repeats=3, progress=lambda done, what: heard.append((done, what.title)))
    assert figures == [
        Measurement("prompt", "counting", "", "tokens/s", (2.0, 3.0, 4.0)),
        Measurement("prompt", "counting", "late", "s", (-2.0, -3.0, -4.0)),
    ]
    assert (figures[0].median, figures[0].low, figures[0].high) == (3.0, 2.0, 4.0)
    assert heard == [(i, "counting") for i in range(4)]
    assert [len(figure.values) for figure in measure(model, [Counting()])] == [3, 3]


def test_workloads_that_do_not_fit_the_context_are_left_out():
    fitting, left_out = choose(None, 514)
    assert {w.group for w in fitting} == {"prompt", "stream", "samples", "forks"}
    assert all(w.positions > 514 for w in left_out)
    assert choose(["samples", "prompt"], 4096) == ([*GROUPS["prompt"], *GROUPS["samples"]], [])


@pytest.mark.parametrize(
    ("only", "context", "message"),
    [
        (["speed"], 512, "no workload named 'speed': expected one of prompt, stream"),
        (["prompt"], 100, "smallest workload needs 129"),
    ],
)
def test_impossible_choices_are_refused(only, context, message):
    with pytest.raises(ParameterError, match=message):
        choose(only, context)


def test_repeats_must_be_positive():
    with pytest.raises(ParameterError, match="repeats must be at least 1, got 0"):
        measure(SimpleNamespace(tokenizer=Tokenizer()), [], repeats=0)
