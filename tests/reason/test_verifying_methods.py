"""Methods that ask about their own texts, by replies written out: who is asked what, and what is made of it."""

from __future__ import annotations

import re
from typing import Any

import pytest

from intact.reason import Problem, Result, find
from intact.reason.backends.base import Generation, Written
from intact.reason.budget import Budget
from intact.reason.driving.driver import Driver
from intact.reason.driving.services import MethodJob, Services
from intact.reason.methods.forward_backward import masked
from intact.reason.methods.generative_verifier import verdict
from intact.reason.methods.speculative_thinking import turns
from intact.reason.parts.prompting import make_prompt, question, read_value
from intact.tasks.score.scorers import find_scorer
from intact.tasks.score.scorers.equations import Equations
from intact.tools.sandbox import protection
from support.script import Reply, ScriptBackend

sandboxed = pytest.mark.skipif(protection().kind == "none", reason="nothing here keeps programs in")


def number(text: str) -> str | None:
    found = re.findall(r"\d+", text)
    return found[-1] if found else None


QUESTION = "Ann has 3 apples and 14 pears. How many fruits?"
PROBLEM = Problem("p", (("system", "Be brief."), ("user", QUESTION)), number)


def solve(
    name: str, reply: Reply, budget: Budget | None = None, other: Reply | None = None, **parameters: Any
) -> tuple[Result, ScriptBackend]:
    backend = ScriptBackend(reply)
    backends = {"main": backend} | ({} if other is None else {"other": ScriptBackend(other, "others")})
    driver = Driver(backends, budget=budget, sampling={"max_tokens": 400}, services=Services(find_scorer))
    ((_, result),) = driver.solve([MethodJob(find(name), PROBLEM, parameters)])
    assert result.cost.tokens == sum(one.made for one in backends.values())
    return result, backend


def test_self_refine_shows_all_that_was_said_and_stops_when_content() -> None:
    said = iter(["Off by one", "Still off", "That is it.\nNo changes needed.", "not asked"])

    def reply(prompt: str, text: str, place: int) -> str:
        if prompt == QUESTION:
            return "15"
        return f"{15 + prompt.count('Feedback:')}" if "Feedback:" in prompt else next(said)

    result, backend = solve("self_refine", reply, rounds=5)
    assert result.answer.answer == "17"
    assert result.answer.details == {"refinements": 2, "satisfied": True, "turns": [["15", "16", "17"]]}
    assert len(backend.asked) == 1 + 3 + 2
    assert backend.asked[4].count(QUESTION) == 1
    assert re.findall(r"(?:Answer|Feedback):\n(.+)", backend.asked[4]) == ["15", "Off by one", "16", "Still off"]
    assert "\n17\n" in backend.asked[5]


def test_self_refine_is_not_content_with_words_in_passing_nor_with_an_answer_that_is_none() -> None:
    def reply(prompt: str, text: str, place: int) -> str:
        if prompt == QUESTION:
            return "15"
        return "no idea" if "Feedback:" in prompt else "I cannot say: No changes needed.\nFor it is wrong"

    result, backend = solve("self_refine", reply, rounds=2)
    assert (result.answer.answer, result.answer.details["refinements"]) == ("15", 2)
    assert len(backend.asked) == 1 + 2 + 2
    none, backend = solve("self_refine", reply, rounds=0)
    assert (none.answer.answer, len(backend.asked)) == ("15", 1)


def test_critique_and_revise_takes_the_critics_and_the_principles_in_turn() -> None:
    def critic(prompt: str, text: str, place: int) -> str:
        return "add 1" if "one" in prompt else "add 2"

    def reply(prompt: str, text: str, place: int) -> str:
        if prompt == QUESTION:
            return f"{[20, 13, 20][place]}"
        _, draft, critique = prompt.split("|")
        return f"{int(draft) + int(critique[-1])}" if draft != "13" else "what?"

    result, backend = solve(
        "critique_and_revise",
        reply,
        other=critic,
        n=3,
        rounds=3,
        critic="other",
        principles="one\ntwo",
        critique="{principle}|{answer}",
        revise="{question}|{answer}|{critique}",
    )
    assert dict(result.answer.votes) == {"24": 2.0, "13": 1.0}
    assert len(backend.asked) == 3 + 9


def test_generative_verifier_by_hand() -> None:
    """Solutions 1, 2, 2 with 2, 1 and 1 of three verdicts; alone the first is best, together the others."""
    yes = {"1": 2, "2": 1}

    def reply(prompt: str, text: str, place: int) -> str:
        if prompt == QUESTION:
            return "122"[place]
        return "... verdict: no, I mean\n**Verdict: Yes**" if place < yes[prompt[-1]] else "Verdict: No"

    result, backend = solve("generative_verifier", reply, n=3, checks=3, verify="{question}\n{answer}")
    assert result.answer.answer == "1"
    assert result.answer.details["rewards"] == [2 / 3, 1 / 3, 1 / 3]
    assert backend.asked[3:] == [f"{QUESTION}\n1"] * 3 + [f"{QUESTION}\n2"] * 6
    yes["1"] = 1
    together, _ = solve("generative_verifier", reply, n=3, checks=3, weighted=True, verify="{question}\n{answer}")
    assert together.answer.answer == "2"
    assert together.answer.votes == {"1": pytest.approx(1 / 3), "2": pytest.approx(2 / 3)}


def test_a_verification_without_a_verdict_is_asked_for_it() -> None:
    """Of two checks each, one says nothing: asked again it says yes for 1, nothing at all for 2."""

    def reply(prompt: str, text: str, place: int) -> str:
        if prompt == QUESTION:
            return "21"[place]
        if text.endswith("\n\nVerdict:"):
            return " Yes, of course" if prompt == "1" else "?"
        return "Verdict: No" if place else "Looks right"

    result, backend = solve("generative_verifier", reply, n=2, checks=2, verify="{answer}")
    assert result.answer.details["rewards"] == [(0.5 + 0) / 2, (1 + 0) / 2]
    assert result.answer.answer == "1"
    assert len(backend.asked) == 2 + 4 + 2


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("Verdict: Yes", 1.0),
        ("verdict - NO.", 0.0),
        ("So:\n**Verdict:** Yes", 1.0),
        ('Verdict: Yes\nI was to end with "Verdict: Yes" or "Verdict: No".', 1.0),
        ("Verdict: Yes\nVerdict: No", 0.0),
        ("yes", None),
        ("Verdict: Yesno", None),
    ],
)
def test_the_last_verdict_counts(text: str, value: float | None) -> None:
    assert verdict(text) == value


def test_empty_lines_are_read_once() -> None:
    """Half a million of them, read again for each other, would take the better part of an hour."""
    assert verdict("\n" * (1 << 19) + "Verdict: Yes" + "\n" * (1 << 19)) == 1.0


def test_a_spent_budget_leaves_the_vote_of_the_solutions() -> None:
    """What verifies is never taken for an answer."""

    def reply(prompt: str, text: str, place: int) -> str:
        return f"{[5, 17, 17][place]}" if prompt == QUESTION else "No: it is 99"

    first = 3 + 2 + 2 + 1  # the end tokens too
    for name, parameters in (("generative_verifier", {}), ("forward_backward", {}), ("code_verified", {})):
        for more in range(4):
            result, _ = solve(name, reply, Budget(tokens=first + more), n=3, **parameters)
            assert result.answer.answer == "17", (name, more)
            assert result.cost.tokens == first + more
            assert result.why == ("spent" if not more else result.why)


def test_forward_backward_by_hand() -> None:
    """Forward 17 three times, 18 twice, 5 once; of 2 + 2 chains backward 17 finds 1 + 1 numbers, 18 all, 5 none.

    So P_f = 3/6, 2/6, 1/6 and P_b = 2/6, 4/6, 0: sqrt(1/6) for 17 against sqrt(2/9) for 18.
    """
    hits = {("17", "3"): 1, ("17", "14"): 1, ("18", "3"): 2, ("18", "14"): 2, ("5", "3"): 0, ("5", "14"): 0}

    def reply(prompt: str, text: str, place: int) -> str:
        if prompt == QUESTION:
            return ["17", "18", "17", "5", "18", "17"][place]
        question, answer = prompt.split("|")
        hidden = "3" if "has x apples and 14" in question else "14"
        assert question == QUESTION.replace(f" {hidden} ", " x ")
        return f"So x is {hidden}" if place % 2 < hits[answer, hidden] else "So x is 999"

    parameters: dict[str, Any] = {"n": 6, "masks": 2, "chains": 2, "backward": "{question}|{answer}"}
    result, backend = solve("forward_backward", reply, **parameters)
    assert result.answer.answer == "18"
    assert result.answer.details == {"hits": {"17": 2, "18": 4, "5": 0}, "hidden": 2}
    assert result.answer.votes["17"] == pytest.approx((3 / 6 * 2 / 6) ** 0.5, rel=1e-6)
    assert result.answer.votes["18"] == pytest.approx((2 / 6 * 4 / 6) ** 0.5, rel=1e-6)
    assert result.answer.votes["5"] < 1e-4
    assert len(backend.asked) == 6 + 3 * 2 * 2
    forward, _ = solve("forward_backward", reply, alpha=1.0, **parameters)
    assert forward.answer.answer == "17"
    assert forward.answer.votes == {"17": 3 / 6, "18": 2 / 6, "5": 1 / 6}
    two, backend = solve("forward_backward", reply, candidates=2, **parameters)
    assert set(two.answer.votes) == {"17", "18"}
    assert len(backend.asked) == 6 + 2 * 2 * 2


def test_numbers_that_the_reader_takes_for_no_answer_are_not_hidden() -> None:
    """Of options a number is none: texts that say nothing would all have found it."""
    letter = Problem("p", QUESTION, lambda text: (re.findall(r"\b[AB]\b", text) or [None])[-1])

    def reply(prompt: str, text: str, place: int) -> str:
        return ("A" if place % 3 else "B") if prompt == QUESTION else "no idea"

    backend = ScriptBackend(reply)
    ((_, result),) = Driver({"main": backend}).solve([MethodJob(find("forward_backward"), letter, {"n": 6})])
    assert (result.answer.answer, result.answer.details) == ("A", {"hits": {}, "hidden": 0})
    assert len(backend.asked) == 6


def test_where_all_agree_nothing_is_verified() -> None:
    result, backend = solve("forward_backward", lambda prompt, text, place: "17", n=4)
    assert (result.answer.answer, len(backend.asked)) == ("17", 4)


@pytest.mark.parametrize(
    ("name", "parameters", "error", "asked"),
    [
        ("forward_backward", {"n": 2, "chains": 40_000}, "masks and chains give 160,000 texts at once", 2),
        ("forward_backward", {"n": 2, "backward": "{question}" * 400_000}, "a question may have at most 16,777,216", 2),
        ("forward_backward", {"n": 2, "backward": "{question}" * 100_000}, "candidates and masks give prompts of", 2),
        (
            "best_of_n",
            {"n": 2, "scorer": Equations(), "reduction": "min", "delimiter": "7"},
            "prefixes have 89,700 characters",
            2,
        ),
    ],
)
def test_what_multiplies_is_refused_before_it_is_made(
    name: str, parameters: dict[str, Any], error: str, asked: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("intact.reason.methods.best_of_n.LONGEST", 80_000)
    result, backend = solve(name, lambda prompt, text, place: "7" * 299 + f"{place}", **parameters)
    assert (result.why, len(backend.asked)) == ("failed", asked)
    assert error in result.error


def test_numbers_are_hidden_whole() -> None:
    assert list(masked("1,250 of 3.5% in 2nd a4: 7.")) == [
        ("x of 3.5% in 2nd a4: 7.", "1250"),
        ("1,250 of x% in 2nd a4: 7.", "3.5"),
        ("1,250 of 3.5% in 2nd a4: x.", "7"),
    ]


@sandboxed
def test_program_aided_runs_what_was_written_and_votes_on_what_it_prints() -> None:
    programs = [
        "apples, pears = 3, 14\nprint('so')\nprint(apples + pears)\n```\nThat prints 99.",
        "print(3 + 14)\n```",
        "print(18)",
        "print(18\n```",
        "print(99)\nraise SystemExit(1)",
    ]

    def reply(prompt: str, text: str, place: int) -> str:
        assert QUESTION in prompt
        assert text == "```python\n"
        return programs[place]

    result, _ = solve("program_aided", reply, n=5)
    assert result.answer.votes == {"17": 2.0, "18": 1.0}
    assert result.answer.details == {"printed": ["17", "17", "18", "", ""]}
    assert result.cost.runs == 5
    spent, _ = solve("program_aided", reply, Budget(runs=3), n=5)
    assert (spent.answer.votes, spent.cost.runs, spent.why) == ({"17": 2.0, "18": 1.0}, 3, "spent")


@sandboxed
def test_what_could_not_be_written_is_not_run() -> None:
    class Broken(ScriptBackend):
        def _written(self, generation: Generation) -> Written:
            written = super()._written(generation)
            return written._replace(why="error", error="away") if generation.branch[-1] == 0 else written

    backend = Broken(lambda prompt, text, place: "print(17)")
    driver = Driver({"main": backend}, sampling={"max_tokens": 400})
    ((_, result),) = driver.solve([MethodJob(find("program_aided"), PROBLEM, {"n": 2})])
    assert (result.cost.runs, result.answer.details["printed"]) == (1, ["", "17"])


@sandboxed
def test_code_verified_by_hand() -> None:
    """17 is found right once; 18 thrice wrong: 1 against 3 * .2. Of equal claims each program counts alone."""

    def reply(prompt: str, text: str, place: int) -> str:
        if prompt == QUESTION:
            return ["18", "18", "17", "18", "none", "16"][place]
        claim = int(prompt)
        return "print(1 / 0)" if claim == 16 else f"print('Checking')\nprint(17 - 14 == 3 and {claim} == 17)"

    result, _ = solve("code_verified", reply, n=6, check="{answer}")
    assert result.answer.answer == "17"
    assert result.answer.votes == {"17": 1.0, "18": pytest.approx(0.6), "16": 0.5}
    assert result.cost.runs == 5
    ignored, _ = solve("code_verified", reply, n=6, check="{answer}", right=0.0, wrong=0.0)
    assert ignored.answer.answer == "16"  # a weight of 0 is a weight
    silent, _ = solve("code_verified", reply, n=6, check="{answer}", right=0.0, wrong=0.0, uncertain=0.0)
    assert (silent.answer.answer, silent.answer.votes) == ("18", {"18": 3.0, "17": 1.0, "16": 1.0})
    spent, _ = solve("code_verified", reply, Budget(runs=0), n=6, check="{answer}")
    assert (spent.answer.answer, spent.cost.runs) == ("18", 0)


def test_a_larger_model_takes_over_where_a_thought_turns() -> None:
    script = ["First, I add.\n\n", "Wait, maybe\n\n", "Then 17.\n\n", "Let me check it\n\n", "Done."]

    def small(prompt: str, text: str, place: int) -> str:
        thoughts = text.split("\n\n")
        return "".join(script[min(len(thoughts), 5) - 1 :])[len(thoughts[-1]) :]

    large = lambda prompt, text, place: "[" + str(text.count("[")) + "]\n\n"  # noqa: E731
    result, _ = solve("speculative_thinking", small, other=large, large="other", draft=6, takeover=5, verification=5)
    # the draft "Wait, " is dropped for the larger model's words, so is "Let me check" as far as it was looked at:
    # in six letters no check is seen, so there the small model goes on
    assert result.answer.details == {"takeovers": 1}
    text = "First, I add.\n\n[0]\n\nThen 17.\n\nLet me check it\n\nDone."
    assert result.answer.chosen is not None
    assert result.answer.chosen.text == text
    wider, _ = solve("speculative_thinking", small, other=large, large="other", draft=12, takeover=5, verification=5)
    assert wider.answer.chosen is not None
    assert wider.answer.chosen.text == "First, I add.\n\n[0]\n\nThen 17.\n\n[1]\n\n[2]\n\nDone."
    models = [piece.model for piece in wider.answer.chosen.pieces]
    assert models.count("other") == 3
    short, _ = solve("speculative_thinking", small, other=large, large="other", draft=12, takeover=5, max_tokens=17)
    assert short.answer.chosen is not None
    assert short.answer.chosen.length == 17


class Wide(ScriptBackend):
    """Its token behind a stop string is one with the string's last."""

    def _written(self, generation: Generation) -> Written:
        written = super()._written(generation)
        return written._replace(text=written.text + "  ") if written.why == "stop" else written


def test_a_thought_is_drafted_where_a_token_reaches_beyond_the_delimiter() -> None:
    thoughts = ["First.", "Wait, no.", "Done."]

    def small(prompt: str, text: str, place: int) -> str:
        begun = text.count("\n\n")
        return "" if len(thoughts) <= begun else "\n\n".join([*thoughts[begun:], ""])

    large = ScriptBackend(lambda prompt, text, place: "So:\n\n", "others")
    driver = Driver({"main": Wide(small), "other": large}, sampling={"max_tokens": 400})
    parameters = {"large": "other", "takeover": 5, "draft": 12}
    ((_, result),) = driver.solve([MethodJob(find("speculative_thinking"), PROBLEM, parameters)])
    assert result.answer.details == {"takeovers": 1}, result.error
    assert result.answer.chosen is not None
    assert result.answer.chosen.text == "First.\n\n  So:\n\nDone.\n\n  "


def test_an_end_of_thinking_is_taken_away_where_a_token_reaches_beyond_it() -> None:
    def reply(prompt: str, text: str, place: int) -> str:
        return "17" if "/t" in text else "hm" if "Wait" in text else "so</t>"

    backend = Wide(lambda prompt, text, place: reply(prompt, text, place) + ("</t>" if "Wait" in text else ""))
    driver = Driver({"main": backend}, sampling={"max_tokens": 400})
    ((_, result),) = driver.solve([MethodJob(find("budget_forcing"), PROBLEM, {"end": "</t>", "waits": 1})])
    assert result.answer.chosen is not None
    assert result.answer.chosen.text.startswith("soWaithm</t>  17"), result.error


def test_doubts_beyond_patience_bring_the_hint() -> None:
    small = lambda prompt, text, place: "wait\n\n" if text.count("\n\n") < 9 else "end"  # noqa: E731
    large = lambda prompt, text, place: "hm\n\n…"  # noqa: E731
    result, _ = solve("speculative_thinking", small, other=large, large="other", takeover=4, patience=2, hint="CHECK:")
    assert result.answer.chosen is not None
    # after two doubts the hint; then seven are needed, which do not come
    assert result.answer.chosen.text.startswith("wait\n\nhm\n\nhm\n\nCHECK:")
    assert result.answer.chosen.text.count("CHECK:") == 1
    assert result.answer.chosen.text.count("hm") == 8


def test_what_sentences_announce() -> None:
    assert turns("Wait, let me check") == {"negative", "verify"}
    assert turns("Yes, the final answer") == {"positive"}
    assert turns("So 3 + 4") == set()


def test_questions_are_found_and_templates_filled() -> None:
    assert question(PROBLEM) == QUESTION
    bare = Problem("p", "Question: 1 + 1?\nAnswer: 2\n\nQuestion: 2 + 2?\nAnswer:")
    assert question(bare) == bare.prompt
    known = Problem("p", bare.prompt, data={"question": "2 + 2?"})
    assert question(known) == "2 + 2?"
    assert make_prompt(known, "{question} {answer} {other} {}", answer="{question}") == "2 + 2? {question} {other} {}"
    assert make_prompt(PROBLEM, "{question}!") == (*PROBLEM.prompt[:-1], ("user", QUESTION + "!"))


def test_a_bare_value_is_read_as_an_answer_even_where_boxes_are_wanted() -> None:
    boxed = Problem("p", "?", lambda text: (re.findall(r"boxed{(.*)}", text) or [None])[0])
    assert read_value(boxed, " 7\n") == "7"
    assert read_value(boxed, "\n") is None
    assert read_value(PROBLEM, "= 7") == "7"
