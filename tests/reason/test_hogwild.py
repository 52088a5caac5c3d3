"""Hogwild: each worker sees the others' texts as of the round before, and writes what the model says after that."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from jsonschema import Draft202012Validator
from rich.console import Console

import intact
from intact._base.errors import ParameterError, ReceiptError
from intact.cli.trace import tree
from intact.engine.shared_cache.rules import DOUBT, FINISH, GOES_ON, LAYOUTS, OTHERS, OWN, PAST, is_over
from intact.library import Model
from intact.reason import Problem, Result
from intact.reason.backends.base import Generation
from intact.reason.backends.native import NativeBackend
from intact.reason.budget import Budget
from intact.reason.driving.driver import Driver
from intact.reason.driving.services import MethodJob
from intact.reason.problem import State
from intact.reason.registry import find
from intact.reason.testing.toy import END, WEIGHTS, MarkovBackend
from intact.receipts import canonical
from intact.solving.receipts.document import RunReceipt
from intact.solving.receipts.entries import SharedEntry, TextEntry, shared_digest
from intact.solving.receipts.schema import schema
from intact.solving.receipts.verify import verify_run
from support.tiny import write_tiny

NEVER = {"rules": "{team}: {question}", "mark": "#", "doubt": 0, "delimiter": ".", "ends": ""}
TALKER = {"": {"a": 1}, "a": {"b": 3, "a": 1}, "b": {"c": 1}, "c": {".": 1}, ".": {"a": 1}}
"""Greedy it says "abc.abc." without end."""


class Watched(MarkovBackend):
    """Notes the text of each request, and what was written to it."""

    def __init__(self, *args: Any, **more: Any) -> None:
        super().__init__(*args, **more)
        self.asked: list[tuple[State, str]] = []

    def step(self) -> list[Generation]:
        ended = super().step()
        for one in ended:
            assert one.written is not None
            self.asked.append((one.state, one.written.text))
        return ended


def solve(backend: MarkovBackend, sampling: dict[str, Any] | None = None, **parameters: Any) -> Result:
    driver = Driver({"main": backend}, sampling={"temperature": 0.0, **(sampling or {})})
    job = MethodJob(find("hogwild"), Problem("p", "ask", lambda text: text[-1:]), {**NEVER, **parameters})
    ((_, result),) = driver.solve([job])
    assert result.error == ""
    assert result.cost.tokens == backend.made
    return result


def by_definition(
    weights: dict[str, Any], n: int, tokens: int, burst: int, layout: str, opening: Sequence[str]
) -> Iterator[str]:
    """Yield what is before each new text, round by round, from the description alone; greedy, steps end by a dot."""
    names = ["Alice", "Bob", "Carol"][:n]
    numbers, left, steps, done, finished = [1] * n, [tokens] * n, list(opening), "", [""] * n

    def law(text: str) -> str:
        row: dict[str, int] = weights.get(text[-1:]) or weights[""]
        return max(row, key=lambda letter: row[letter])

    while any(left):
        drawn = [""] * n
        for i in range(n):
            if not left[i]:
                continue
            others = "".join(steps[j] + GOES_ON for j in range(n) if j != i)
            whole = "".join(finished[j] + steps[j] + GOES_ON for j in range(n) if j != i)
            seen = {
                "combined": PAST + done + OTHERS + others + OWN + steps[i],
                "interleaved": PAST + done + steps[i],
                "contiguous": OTHERS + whole + OWN + finished[i] + steps[i],
            }[layout]
            yield seen
            while len(drawn[i]) < min(burst, left[i]) and not drawn[i].endswith("."):
                drawn[i] += law(seen + drawn[i])
        for i in range(n):
            left[i] -= len(drawn[i])
            steps[i] += drawn[i]
            if drawn[i].endswith("."):
                done, numbers[i], finished[i] = done + steps[i], numbers[i] + 1, finished[i] + steps[i]
                steps[i] = f"**{names[i]} [{numbers[i]}]:** "


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize(("n", "tokens", "burst"), [(1, 9, 2), (2, 12, 3), (2, 7, 1), (3, 10, 4), (2, 8, 16)])
def test_workers_see_what_the_others_had_written_a_round_ago(layout: str, n: int, tokens: int, burst: int) -> None:
    backend = Watched(TALKER)
    result = solve(backend, n=n, tokens=tokens, burst=burst, layout=layout, conclude=3)
    opening = [
        "**Alice [1]:** I'm Alice. I suggest that we", "**Bob [1]:** I'm Bob.", "**Carol [1]:** I'm Carol."
    ][:n]  # fmt: skip
    wanted = list(by_definition(dict(TALKER), n, tokens, burst, layout, opening))
    asked, (last, text) = backend.asked[:-1], backend.asked[-1]
    assert [state.text for state, _ in asked] == wanted
    assert last.text.startswith(PAST)
    assert last.text.endswith(GOES_ON + FINISH)
    assert result.answer.chosen is not None
    assert result.answer.chosen.text == last.text + text
    assert result.cost.sequential <= tokens + 3
    assert {state.prompt for state, _ in backend.asked} == {
        {1: "Alice", 2: "Alice and Bob", 3: "Alice, Bob and Carol"}[n] + ": ask"
    }
    tokens_of = [len(piece.tokens) for state, _ in asked for piece in state.pieces if piece.tokens]
    assert sum(tokens_of) > 0, "what was drawn stays tokens in every view"


def test_others_texts_are_read_again_where_they_changed_and_charged() -> None:
    """A worker alone reads its prompt and the headings once; with another one, what that has written too."""
    alone = solve(Watched(TALKER), n=1, tokens=3, burst=1, layout="interleaved", conclude=1)
    begun = "**Alice [1]:** I'm Alice. I suggest that we"
    concluded = len(OTHERS + begun + "abc" + GOES_ON + FINISH)  # behind another heading the step is read once more
    assert alone.cost.prefill == len("Alice: ask" + PAST + begun) + concluded
    apart = solve(Watched(TALKER), n=2, tokens=3, burst=1, layout="interleaved", conclude=1)
    together = solve(Watched(TALKER), n=2, tokens=3, burst=1, layout="combined", conclude=1)
    assert together.cost.prefill > apart.cost.prefill > alone.cost.prefill
    assert together.cost.tokens == apart.cost.tokens == 7


def test_a_step_with_the_mark_and_an_answer_ends_the_work() -> None:
    first = solve(Watched(TALKER), mark="c", tokens=40, burst=2)
    assert first.answer.details["by"] == "Alice"
    assert first.answer.details["steps"] == 1
    assert first.answer.answer == "."
    assert first.answer.chosen is not None
    assert first.answer.chosen.text.endswith("I suggest that weabc.")
    unread = Driver({"main": MarkovBackend(TALKER)}, sampling={"temperature": 0.0})
    job = MethodJob(find("hogwild"), Problem("p", "ask", lambda _: None), {**NEVER, "mark": "c", "tokens": 8})
    ((_, result),) = unread.solve([job])
    assert result.answer.details["by"] is None, "a mark without an answer ends nothing"


def test_who_begins_a_step_is_asked_for_doubts_after_so_many_tokens_of_all() -> None:
    backend = Watched(TALKER)
    solve(backend, n=2, tokens=16, burst=4, doubt=7)
    texts = [state.text for state, _ in backend.asked]
    assert [text.count(DOUBT) for text in texts[:4]] == [0, 0, 1, 1]
    assert f"**Bob [2]:** {DOUBT}" in texts[3]
    assert f"**Alice [2]:** {DOUBT}" not in texts[3]
    backend = Watched(TALKER)
    solve(backend, n=2, tokens=16, burst=4, doubt=0)
    assert not any(DOUBT in state.text for state, _ in backend.asked)


def test_an_end_token_ends_a_step_and_twice_in_a_row_a_worker() -> None:
    backend = Watched({"": {"a": 1}, "a": {"b": 1}, "b": {END: 1}, " ": {END: 1}})
    result = solve(backend, n=1, tokens=50, burst=8)
    asked = [(state.text.removeprefix(PAST), text) for state, text in backend.asked]
    heading = OTHERS + OWN
    begun = "**Alice [1]:** I'm Alice. I suggest that we"
    assert asked[0] == (heading + begun, "ab")
    assert asked[1] == (f"{begun}ab.{heading}**Alice [2]:** ", "")
    assert len(asked) == 3, "then comes the conclusion"
    assert result.answer.details["rounds"] == 2
    assert all(END not in piece.text for state, _ in backend.asked for piece in state.pieces)
    assert not any(ord(END) in piece.tokens for state, _ in backend.asked for piece in state.pieces)


@pytest.mark.parametrize(
    ("text", "over"),
    [("So it is.\n\n", True), ("So it is:\n\n", False), ("It is. \n\n", True), ("It is.", False), ("", False),
     ("It is?\n\nAnd", True), ("\n\n", False), ("是。\n\n", True)],
)  # fmt: skip
def test_a_step_ends_by_a_blank_line_behind_a_sentence(text: str, over: bool) -> None:
    assert is_over(text, "\n\n", ".?!…。؟।") == over
    assert is_over(text, "\n\n", "") == ("\n\n" in text)


def test_a_budget_that_ends_is_said_and_an_answer_of_a_worker_counts() -> None:
    driver = Driver({"main": MarkovBackend(WEIGHTS)}, budget=Budget(tokens=20))
    job = MethodJob(find("hogwild"), Problem("p", "ask", lambda text: text[-1:]), {**NEVER, "tokens": 64})
    ((_, result),) = driver.solve([job])
    assert result.why == "spent" or result.answer.answer is not None
    assert result.cost.tokens <= 20


@pytest.mark.parametrize(
    ("given", "message"),
    [({"n": 9}, "n must lie in"), ({"layout": "mixed"}, "layout must be one of combined, interleaved, contiguous"),
     ({"burst": 0}, "burst must be at least 1"), ({"mark": ""}, "mark must not be empty")],
)  # fmt: skip
def test_impossible_parameters_are_named(given: dict[str, Any], message: str) -> None:
    with pytest.raises(ParameterError, match=message):
        find("hogwild").read({**NEVER, **given})


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Model]:
    with intact.load(write_tiny(tmp_path_factory.mktemp("m") / "m.gguf", context=2048), threads=1) as loaded:
        yield loaded


@pytest.mark.parametrize("layout", LAYOUTS)
def test_on_the_engine_each_text_is_what_the_model_says_to_just_those_tokens(model: Model, layout: str) -> None:
    """Greedy, by a plain loop over tokens: views are tokens as they were drawn, never tokenised again."""
    asked: dict[str, Any] = {"tokens": 9, "burst": 3, "conclude": 4, "layout": layout, "doubt": 0, "mark": "#"}
    result = intact.solve(
        model, "hogwild", Problem("p", "Why?"), receipt=True, temperature=0, rules="{question}", **asked
    )
    assert isinstance(result.receipt, RunReceipt)
    entries = [entry for entry in result.receipt.entries if isinstance(entry, TextEntry)]

    def encoded(text: str) -> list[int]:
        return model.tokenizer.encode(text, special=False, bos=False)

    prompt = model.tokenizer.encode("Why?")
    steps = [[encoded("**Alice [1]:** I'm Alice. I suggest that we")], [encoded("**Bob [1]:** I'm Bob.")]]
    texts = []
    for _ in range(3):
        views = []
        for own, other in (steps, steps[::-1]):
            past = [] if layout == "contiguous" else [encoded(PAST)]
            seen = [] if layout == "interleaved" else [encoded(OTHERS), *other, encoded(GOES_ON), encoded(OWN)]
            views.append([*prompt, *np.concatenate([*past, *seen, *own]).astype(int).tolist()])
        for view, step in zip(views, steps, strict=True):
            ((found,),) = model.generate(view, max_tokens=3, temperature=0, stop="\n\n")
            step.append(list(found.tokens))
            texts.append(found.tokens)
    assert [entry.output.tokens for entry in entries[:-1]] == texts
    assert result.answer.details == {"rounds": 3, "steps": 0, "by": None}


SHARED: dict[str, Any] = {"cache": "shared", "tokens": 9, "conclude": 3, "doubt": 0, "rules": "{question}"}


def shared(model: Model, **more: Any) -> Result:
    asked = {**SHARED, "temperature": 0.9, "seed": 5, "receipt": True, **more}
    return intact.solve(model, "hogwild", Problem("p", "Why?", seed=asked.pop("seed")), **asked)


def test_workers_who_share_a_cache_cost_what_they_draw_and_read(model: Model) -> None:
    result = shared(model)
    (node,) = result.trace["nodes"]
    assert node["kind"] == "shared"
    assert result.cost.tokens == 2 * 9 + 3
    assert result.cost.sequential == 9 + 3
    prompt, said = len(model.tokenizer.encode("Why?")), [PAST, OTHERS, GOES_ON, OWN, FINISH]
    begun = ["**Alice [1]:** I'm Alice. I suggest that we", "**Bob [1]:** I'm Bob."]
    for worker, number, round_, tokens in node["steps"]:
        begun += ["\n\n"] * (tokens[-1] in model.tokenizer.eos_ids and round_ > 0)
        begun += [f"**{('Alice', 'Bob')[worker]} [{number + 1}]:** "] * (round_ > 0)
    words = sum(len(model.tokenizer.encode(text, special=False, bos=False)) for text in said + begun)
    assert result.cost.prefill == prompt + words
    assert result.answer.chosen is not None
    assert result.answer.chosen.text == node["text"]
    assert shared(model, seed=6).trace["nodes"] != result.trace["nodes"]


def test_a_receipt_of_workers_is_found_true_and_a_forged_one_false(model: Model) -> None:
    receipt = shared(model).receipt
    assert isinstance(receipt, RunReceipt)
    assert RunReceipt.parse(receipt.encode()) == receipt
    verdict = verify_run(model, receipt)
    assert (verdict.outcome, verdict.checked) == ("true", receipt.count)
    (entry,) = receipt.entries
    assert isinstance(entry, SharedEntry)
    first, *others = entry.text.steps
    lied = replace(entry.text, steps=(first._replace(tokens=(7, *first.tokens[1:])), *others))
    for forged, what in [
        (replace(entry, text=lied), "shared"),
        (replace(entry, text=replace(entry.text, read=entry.text.read + 1)), "cost"),
        (replace(entry, text=replace(entry.text, text="so it is")), "vote"),
        (replace(entry, request=bytes(32)), "missing"),
    ]:
        found = verify_run(model, RunReceipt.make(receipt.header, (forged,), receipt.result))
        assert (found.outcome, found.what) == ("false", what)


def test_a_verifier_writes_no_further_than_a_receipt_says(model: Model) -> None:
    result = shared(model)
    receipt = result.receipt
    assert isinstance(receipt, RunReceipt)
    (entry,), (node,) = receipt.entries, result.trace["nodes"]
    assert isinstance(entry, SharedEntry)
    longer = replace(entry, request=shared_digest("sha256", node["request"] | {"tokens": 5000}))
    header = replace(receipt.header, parameters={**receipt.header.parameters, "tokens": 5000})
    calls: list[None] = []
    found = verify_run(
        model, RunReceipt.make(header, (longer,), receipt.result), between=lambda: calls.append(None)
    )  # fmt: skip
    assert (found.outcome, found.what) == ("false", "shared")
    assert len(calls) < 60


def test_a_trace_shows_what_workers_wrote(model: Model) -> None:
    console = Console(width=200, record=True, file=io.StringIO())
    console.print(tree(dict(shared(model).trace), full=True))
    shown = console.export_text()
    assert "finish 21 tokens in" in shown
    assert "I'm Bob." in shown


@pytest.mark.parametrize(
    ("name", "value"),
    [("steps", [[0, 1, 2]]), ("steps", [[0, 1, 2, 3]]), ("steps", [[0, 1, -2, [5]]]), ("steps", None),
     ("conclusion", [-1]), ("rounds", -1), ("by", 8), ("ended", "soon"), ("text", 5), ("read", None),
     ("request", "00"), ("branch", [])],
)  # fmt: skip
def test_a_hostile_entry_of_workers_is_refused(model: Model, name: str, value: Any) -> None:
    receipt = shared(model).receipt
    assert isinstance(receipt, RunReceipt)
    document = json.loads(receipt.encode())
    validator = Draft202012Validator(schema())
    validator.validate(document)
    document["entries"][0][name] = value
    assert not validator.is_valid(document)
    with pytest.raises(ReceiptError, match=name):
        RunReceipt.parse(canonical.encode(document))


def test_a_journal_gives_back_what_workers_wrote(model: Model, tmp_path: Path) -> None:
    first = shared(model, receipt=False, journal=tmp_path / "j")
    again = shared(model, receipt=False, journal=tmp_path / "j")
    assert again.trace == first.trace
    receipt = shared(model, journal=tmp_path / "j").receipt
    assert isinstance(receipt, RunReceipt)
    assert verify_run(model, receipt).outcome == "true"


@pytest.mark.parametrize(
    ("options", "message"),
    [({"regex": "a+"}, "typical_p, got regex"), ({"stop": "."}, "typical_p, got stop"),
     ({"budget": Budget(tokens=8)}, "the budget")],
)  # fmt: skip
def test_what_workers_who_share_a_cache_cannot_have_is_said(model: Model, options: Any, message: str) -> None:
    result = shared(model, receipt=False, **options)
    assert message in result.error
    assert result.cost.tokens == 0


def test_progress_counts_what_workers_who_share_a_cache_draw(model: Model) -> None:
    told = list[int]()
    driver = Driver({"main": NativeBackend(model)}, progress=told.append)
    ((_, result),) = driver.solve([MethodJob(find("hogwild"), Problem("p", "Why?"), SHARED)])
    assert result.cost.tokens > 0
    assert told[-1] == result.cost.tokens


def test_other_back_ends_have_no_cache_to_share() -> None:
    driver = Driver({"main": MarkovBackend(WEIGHTS)})
    job = MethodJob(find("hogwild"), Problem("p", "ask", lambda text: text[-1:]), {**NEVER, "cache": "shared"})
    ((_, result),) = driver.solve([job])
    assert "use cache=text" in result.error
