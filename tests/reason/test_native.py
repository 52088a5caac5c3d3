"""Methods on our engine: what they get, what it costs, how little of it depends on anything else."""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Iterator
from contextlib import closing
from datetime import datetime
from pathlib import Path
from typing import Any, cast

import pytest

import intact
from intact._base.errors import SpentError
from intact.engine.request import Event
from intact.engine.shared_cache.request import SharedRequest
from intact.library import Model
from intact.reason import Answer, Extend, Problem, Race, Result, State, Steps, find, method
from intact.reason.backends import native
from intact.reason.backends.native import NativeBackend, digest_of
from intact.reason.budget import Budget
from intact.reason.driving.driver import Driver
from intact.reason.driving.journal import Journal
from intact.reason.driving.services import MethodJob, Services
from intact.tasks.score.scorers import find_scorer
from support.folders import write_folder
from support.models import real_model
from support.tiny import write_tiny
from support.variants import VARIANTS


@pytest.fixture(scope="module")
def model() -> Iterator[Model]:
    loaded = intact.load(real_model("smollm2-135m"), threads=1)
    yield loaded
    loaded.close()


@pytest.fixture
def tiny(tmp_path: Any) -> Model:
    return intact.load(write_tiny(tmp_path / "tiny.gguf"), threads=1)


@pytest.fixture
def made(monkeypatch: pytest.MonkeyPatch) -> list[Event]:
    """Every token that an engine tells anybody of, counted apart from the back end."""
    from intact.engine.emitter import Emitter

    collected: list[Event] = []
    emit = Emitter._emit

    def counted(self: Emitter, request: Any, sample: Any, event: Event) -> bool:
        collected.append(event)
        return emit(self, request, sample, event)

    monkeypatch.setattr(Emitter, "_emit", counted)
    return collected


def test_a_prompt_with_the_date_is_another_one_at_another_time(tmp_path: Path, made: list[Event]) -> None:
    template = "{{ strftime_now('%d') }}{% for message in messages %}{{ message.content }}{% endfor %}"
    days = {"dated": template, "plain": template.replace("strftime_now('%d')", "'06'")}
    problem = Problem("p", (("user", "What?"),), last_number)
    for name, text in days.items():
        path = write_tiny(tmp_path / f"{name}.gguf", metadata={"tokenizer.chat_template": text})
        for day, again in ((6, False), (6, True), (7, name == "plain"), (6, True)):
            made.clear()
            with closing(intact.load(path, threads=1)) as model, Journal(tmp_path / name) as journal:
                task = MethodJob(find("chain_of_thought"), problem, {})
                backend = NativeBackend(model, datetime(2026, 5, day))
                list(Driver({"tiny": backend}, journal=journal, sampling={"max_tokens": 3}).solve([task]))
            assert (not made) == again, (name, day)


def test_only_a_template_that_writes_the_date_needs_the_time(tiny: Model) -> None:
    backend = NativeBackend(tiny)
    assert not backend.needs_time
    assert backend.prompt_digest((("user", "Hi"),)) == ""


def test_workers_whose_turn_does_not_come_in_time_are_told(tiny: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    taken, stop = threading.Lock(), threading.Event()
    taken.acquire()
    stop.set()
    monkeypatch.setattr(native, "_SHARING", taken)
    with pytest.raises(SpentError, match="the time ran out before the workers could begin"):
        NativeBackend(tiny).write_together(cast(SharedRequest, None), stop)


def last_number(text: str) -> str | None:
    found = re.findall(r"\d+", text)
    return found[-1] if found else None


def problems(count: int) -> list[Problem]:
    return [Problem(f"sum-{i}", (("user", f"What is {i + 2} + {i}?"),), last_number) for i in range(count)]


def solve(model: Model, tasks: list[MethodJob], **options: Any) -> list[Result]:
    options.setdefault("sampling", {"max_tokens": 24})
    driver = Driver({"main": NativeBackend(model)}, services=Services(find_scorer), **options)
    results = dict(driver.solve(tasks))
    assert model.engine.held == 0
    return [results[i] for i in range(len(tasks))]


def comparable(result: Result) -> Any:
    value = result.as_dict(trace=True)
    value["cost"].pop("seconds")
    return json.loads(json.dumps(value))


def some_tasks(which: list[Problem]) -> list[MethodJob]:
    particles = {"n": 3, "delimiter": ".", "steps": 3, "scorer": "p_true"}
    return [
        MethodJob(find(name), problem, parameters)
        for problem in which
        for name, parameters in (
            ("self_consistency", {"n": 4}),
            ("short_m_at_k", {"k": 4, "m": 2}),
            ("particle_filter", particles),
        )
    ]


def test_samples_are_those_of_generate(model: Model) -> None:
    (problem,) = problems(1)
    (result,) = solve(model, [MethodJob(find("self_consistency"), problem, {"n": 3})])
    prompt = model.tokenizer.encode_chat([{"role": "user", "content": problem.prompt[0][1]}])
    ((*samples,),) = model.generate(prompt, 3, ids=[problem.id], temperature=0.7, max_tokens=24)
    assert [node["tokens"] for node in result.trace["nodes"]] == [len(sample.tokens) for sample in samples]
    assert [node["text"] for node in result.trace["nodes"]] == [sample.text for sample in samples]


def test_company_and_order_decide_nothing_and_tokens_charged_are_tokens_made(model: Model, made: list[Event]) -> None:
    tasks = some_tasks(problems(2))
    together = solve(model, tasks)
    assert {(result.why, result.error) for result in together} == {("done", "")}
    assert sum(result.cost.tokens for result in together) == len(made)
    apart = [solve(model, [task])[0] for task in reversed(tasks)][::-1]
    assert [comparable(result) for result in together] == [comparable(result) for result in apart]


@pytest.mark.parametrize("cap", [1, 30, 75, 120])
def test_no_cap_on_tokens_is_exceeded(model: Model, made: list[Event], cap: int) -> None:
    results = solve(model, some_tasks(problems(1)), budget=Budget(tokens=cap))
    assert all(result.cost.tokens <= cap for result in results)
    assert sum(result.cost.tokens for result in results) == len(made)


@pytest.mark.parametrize("others", [0, 3])
def test_runners_of_a_race_that_begin_at_different_times_stay_abreast(
    tiny: Model, made: list[Event], others: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where other threads, which use the same engine, run steps in between."""
    keep = NativeBackend._keep_abreast

    def late(self: NativeBackend) -> None:
        for _ in range(others):
            tiny.engine.step()
        keep(self)

    monkeypatch.setattr(NativeBackend, "_keep_abreast", late)
    seen: list[tuple[list[State], list[State]]] = []

    @method("none", temperature=1.0, max_tokens=60)
    def racing(problem: Problem) -> Steps:
        """Run."""
        starts = [problem.ask("x" * (1 + 90 * i)) for i in range(4)]
        free = yield [Extend(state, stop=("a", "e")) for state in starts]
        raced = yield Race([Extend(state, stop=("a", "e")) for state in starts], 2)
        seen.append((free, raced.states))
        return Answer(None, details={"winners": raced.winners})

    results = solve(tiny, [MethodJob(racing, Problem(f"p{i}", "x"), {}) for i in range(6)], sampling={})
    assert {(result.why, result.error) for result in results} == {("done", "")}
    assert sum(result.cost.tokens for result in results) == len(made)
    decided = sum(len(result.answer.details["winners"]) == 2 for result in results)
    for _, states in seen:
        complete = sorted((s.length, i) for i, s in enumerate(states) if s.complete)[:2]
        if len(complete) == 2:
            assert max(s.length for s in states) == complete[-1][0]
    assert decided


@pytest.mark.parametrize("winners", [1, 2, 4])
def test_a_race_of_texts_that_are_known_is_decided_without_the_model(
    tiny: Model, made: list[Event], tmp_path: Path, winners: int
) -> None:
    """As if it had been run; and what has arrived in a race is written for nobody again."""

    def extensions(problem: Problem) -> list[Extend]:
        states = [problem.ask("x" * (1 + 90 * i)) for i in range(4)]
        return [Extend(state, stop=("a", "e"), top_logprobs=2) for state in states]

    @method("none", temperature=1.0, max_tokens=12)
    def free(problem: Problem) -> Steps:
        """Write."""
        yield extensions(problem)
        return Answer(None)

    @method("none", temperature=1.0, max_tokens=12)
    def racing(problem: Problem) -> Steps:
        """Run."""
        raced = yield Race(extensions(problem), winners)
        return Answer(None, details={"states": [repr(state) for state in raced.states], "winners": raced.winners})

    def asked(what: Any, folder: str) -> tuple[list[Any], int]:
        made.clear()
        tasks = [MethodJob(what, Problem(f"p{i}", "x"), {}) for i in range(8)]
        with Journal(tmp_path / folder) as journal:
            return [comparable(result) for result in solve(tiny, tasks, sampling={}, journal=journal)], len(made)

    _, all_of_it = asked(free, "first")
    decided, none = asked(racing, "first")
    raced, most = asked(racing, "second")
    assert none == 0 < most
    assert decided == raced
    assert sum(result["cost"]["tokens"] for result in raced) == most
    assert asked(racing, "first") == (decided, 0)
    cut = [node for result in raced for node in result["trace"]["nodes"] if node["why"] == "cancelled"]
    assert bool(cut) == (winners < 4)
    again, written = asked(free, "second")
    assert again == asked(free, "first")[0]
    assert written < all_of_it


@pytest.mark.parametrize("cap", [7, 40, 60, 100, 130])
def test_what_a_cap_leaves_of_texts_that_are_known_is_not_written_again(
    tiny: Model, made: list[Event], tmp_path: Path, cap: int
) -> None:
    problem, wishes = Problem("p", "x" * 40, last_number), {"max_tokens": 32, "temperature": 1.0, "stop": ["a"]}

    def votes(folder: str, budget: Budget | None) -> tuple[Any, int]:
        made.clear()
        with Journal(tmp_path / folder) as journal:
            task = MethodJob(find("self_consistency"), problem, {"n": 6})
            (result,) = solve(tiny, [task], sampling=wishes, journal=journal, budget=budget)
        return comparable(result), len(made)

    _, whole = votes("first", None)
    capped, none = votes("first", Budget(tokens=cap))
    fresh, some = votes("second", Budget(tokens=cap))
    assert none == 0 < some <= cap < whole
    assert capped == fresh
    assert "budget" in [node["why"] for node in fresh["trace"]["nodes"]]


def test_what_was_written_is_never_tokenised_again(tiny: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    """Random tokens, which no tokenizer would have chosen for their text, are continued as they are."""
    contexts: list[list[int]] = []
    context = NativeBackend.tokens_of

    def noted(self: NativeBackend, state: State) -> list[int]:
        contexts.append(context(self, state))
        return contexts[-1]

    monkeypatch.setattr(NativeBackend, "tokens_of", noted)

    @method("none", temperature=1.0, max_tokens=20)
    def stepping(problem: Problem) -> Steps:
        """Step."""
        state = problem.start
        for _ in range(3):
            state = yield Extend(state)
        state = yield Extend(state.append("<|im_end|>so"))
        return Answer(state.text, {}, None, state)

    (result,) = solve(tiny, [MethodJob(stepping, Problem("p", "begin"), {})], sampling={})
    state = result.answer.chosen
    assert state is not None
    written = [piece.tokens for piece in state.pieces if piece.tokens]
    tokenizer = tiny.tokenizer
    prompt = tokenizer.encode("begin")
    appended = tokenizer.encode("<|im_end|>so", bos=False)
    before = [token for tokens in written[:-1] for token in tokens]
    assert contexts[-1] == prompt + before + appended
    assert appended[0] in tokenizer.eos_ids
    assert state.text.startswith(tokenizer.decode(before, continuation=True).rstrip("\ufffd"))


def test_a_state_that_goes_on_finds_its_pages_again(model: Model) -> None:
    @method("none", temperature=0.8)
    def stepping(problem: Problem) -> Steps:
        """Step."""
        state = problem.start
        for _ in range(4):
            state = yield Extend(state, max_tokens=40)
        return Answer(None)

    before = model.engine.counters.prefilled
    story = Problem("story", (("user", "Tell a long story about a clockmaker and his three daughters. " * 8),))
    (result,) = solve(model, [MethodJob(stepping, story, {})], sampling={})
    if all(node["why"] == "length" for node in result.trace["nodes"]):
        assert model.engine.counters.prefilled - before < result.cost.prefill + 4 * model.engine.pool.page_size


def test_operations_are_those_of_the_program(tiny: Model) -> None:
    backend = NativeBackend(tiny)
    assert backend.operations(0, 10) == backend.operations(0, 4) + backend.operations(4, 6)
    matrices = sum(
        int(tiny.program.tensors[target.weight].shape[0]) * int(tiny.program.tensors[target.weight].shape[1])
        for op in tiny.program.ops
        for target in getattr(op, "targets", ())
    )
    head = 301 * 96
    attention = 2 * 2 * 3 * 24  # layers, scores and values, heads, width
    assert backend.operations(0, 1) == matrices + head + attention
    assert backend.operations(7, 1) == matrices + head + attention * 8


def test_a_prompt_that_is_too_long_or_impossible_is_named(tiny: Model) -> None:
    long, empty, fine = solve(
        tiny,
        [MethodJob(find("chain_of_thought"), Problem(str(i), text), {}) for i, text in enumerate(("x" * 600, "", "x"))],
    )
    assert (long.why, empty.why, fine.why) == ("failed", "failed", "done")
    assert re.search(
        r"the prompt has \d+ tokens, which leaves no room for a token after it in the context of \d+", long.error
    )
    assert "the prompt is empty" in empty.error
    assert long.answer.chosen is not None
    assert long.answer.chosen.why == "context"
    assert empty.answer.chosen is not None
    assert empty.answer.chosen.why == "error"
    assert "empty" in empty.answer.chosen.error
    assert fine.answer.chosen is not None
    assert fine.answer.chosen.length


def test_the_digest_of_a_model_is_that_of_its_bytes(tiny: Model, tmp_path: Any) -> None:
    other = write_tiny(tmp_path / "other.gguf", seed=1)
    assert digest_of(tiny.path) == digest_of(write_tiny(tmp_path / "copy.gguf")) != digest_of(other)


@pytest.mark.parametrize("name", ["config.json", "tokenizer.json", "generation_config.json"])
def test_a_folder_of_which_any_file_changes_is_another_model(tmp_path: Any, name: str) -> None:
    folder = write_folder(tmp_path / "m", VARIANTS["llama"], "llama")
    before = NativeBackend(intact.load(folder, threads=1)).identity
    assert NativeBackend(intact.load(folder, threads=1)).identity == before
    file = folder / name
    file.write_text((file.read_text() if file.exists() else "{}") + "\n")
    assert NativeBackend(intact.load(folder, threads=1)).identity != before


def test_the_identity_of_a_back_end_names_all_that_decides_bits(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    path, other = write_tiny(tmp_path / "a.gguf"), write_tiny(tmp_path / "b.gguf", seed=1)
    identities = [
        NativeBackend(intact.load(file, profile, threads=1, bits=bits)).identity  # type: ignore[arg-type]
        for file, profile, bits in ((path, "int8", 8), (other, "int8", 8), (path, "fp32", 8), (path, "int8", 4))
    ]
    monkeypatch.setattr("intact.receipts.identity.VERSION", "another")
    identities.append(NativeBackend(intact.load(path, threads=1)).identity)
    assert len(set(identities)) == len(identities)
    again = NativeBackend(intact.load(path, threads=2, page_size=16, prefix_cache=False, executor="native"))
    assert again.identity == identities[-1]
