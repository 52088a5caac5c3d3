"""LINC: sentences, formulas under a grammar, and the prover's verdicts, on scripted models."""

from __future__ import annotations

import re
from itertools import islice

import pytest

from intact._base.errors import ParameterError
from intact.reason import Problem, find
from intact.reason.budget import Budget
from intact.reason.driving.driver import Driver
from intact.reason.driving.services import MethodJob
from intact.reason.methods.linc import sentences_of
from intact.tasks import find_task
from intact.tasks.data import data_folder
from intact.tools import sandbox
from intact.tools.prove.formalise import grammar, program, queries, read_answers, read_formula
from support.script import ScriptBackend

QUESTION = """\
Premises:
All men are mortal.
Socrates is a man.
Conclusion: Socrates is mortal.
A) True
B) False
C) Uncertain"""
FORMULAS = {
    "All men are mortal.": "![X]: (man(X) => mortal(X))",
    "Socrates is a man.": "man(socrates)",
    "Socrates is mortal.": "mortal(socrates)",
}
needs_sandbox = pytest.mark.skipif(sandbox.protection().kind == "none", reason="nothing here keeps programs in")


def solve(formulas, budget=None, question=QUESTION, **parameters):
    """Run the method on a model that writes these formulas: a text, or a function of the number of the draw."""

    def reply(prompt, written, number):
        asked = re.findall(r"TEXT: (.*)\nFOL: $", written)
        if not asked:
            return "False"
        one = formulas[asked[-1]]
        return f"{one(number) if callable(one) else one}\n"

    problem = Problem("p0", question, find_task("folio").read, {"question": question})
    job = MethodJob(find("linc"), problem, {"n": 3, **parameters})
    ((_, result),) = Driver({"main": ScriptBackend(reply)}, budget=budget, sampling={"max_tokens": 400}).solve([job])
    assert result.why in ("done", "spent"), result.error
    return result


@needs_sandbox
@pytest.mark.parametrize(
    ("conclusion", "letter", "found"),
    [
        ("mortal(socrates)", "A", "True"),
        ("~mortal(socrates)", "B", "False"),
        ("mortal(plato)", "C", "Uncertain"),
        ("?[X]: mortal(X)", "A", "True"),
    ],
)
def test_the_prover_decides(conclusion, letter, found):
    result = solve({**FORMULAS, "Socrates is mortal.": conclusion})
    assert (result.answer.answer, result.answer.details["found"]) == (letter, [found] * 3)
    assert result.cost.runs == 3


@needs_sandbox
def test_a_variable_that_nothing_binds_is_universal():
    result = solve({**FORMULAS, "All men are mortal.": "(man(X) => mortal(X))"})
    assert (result.answer.answer, result.answer.details["found"]) == ("A", ["True"] * 3)


@needs_sandbox
def test_contradictory_premises_do_not_vote():
    result = solve({**FORMULAS, "All men are mortal.": "![X]: ~man(X)"})
    assert (result.answer.answer, result.answer.details["found"]) == (None, ["Inconsistent"] * 3)


@needs_sandbox
def test_a_search_without_end_is_a_limit_and_does_not_vote():
    endless = "(![X]: ?[Y]: after(X,Y) & ![X]: ![Y]: ![Z]: ((after(X,Y) & after(Y,Z)) => after(X,Z)))"
    result = solve({**FORMULAS, "All men are mortal.": endless, "Socrates is a man.": "~after(a,a)"}, steps=500)
    assert result.answer.details["found"] == ["Limit"] * 3
    assert result.answer.answer is None


@needs_sandbox
def test_the_majority_wins_and_errors_do_not_vote():
    def conclusion(number):
        return ["mortal(socrates)", "mortal(mortal)", "mortal(socrates)"][number % 3]

    result = solve({**FORMULAS, "Socrates is mortal.": conclusion}, redraws=0)
    assert result.answer.answer == "A"


@needs_sandbox
def test_what_cannot_be_read_is_drawn_anew():
    draws = iter(["man(man)", "man(man)", "man(man)", "man(socrates)", "man(socrates)", "man(man)", "man(socrates)"])
    result = solve({**FORMULAS, "Socrates is a man.": lambda number: next(draws)})
    assert result.answer.details["redrawn"] == 4
    assert result.answer.details["read"] == 3
    never = solve({**FORMULAS, "Socrates is a man.": "man(man)"})
    assert (never.answer.answer, never.answer.details["found"]) == (None, ["Error"] * 3)
    assert never.answer.details["redrawn"] == 6
    assert never.cost.runs == 0


@needs_sandbox
def test_a_budget_of_runs_leaves_errors():
    result = solve(FORMULAS, Budget(runs=1))
    assert result.answer.details["found"] == ["True", "Error", "Error"]
    assert result.answer.answer == "A"


@pytest.mark.parametrize("way", ["scratchpad", "naive"])
def test_the_baselines_take_the_models_own_word(way):
    result = solve(FORMULAS, way=way)
    assert (result.answer.answer, result.cost.runs) == ("B", 0)
    text = result.answer.chosen.text
    assert ("FOL: man(socrates)" in text) == (way == "scratchpad")


def test_an_unknown_way_is_refused():
    with pytest.raises(ParameterError, match="way must be one of linc, scratchpad, naive"):
        find("linc").read({"way": "prolog"})


def test_sentences():
    assert sentences_of(QUESTION) == (["All men are mortal.", "Socrates is a man."], "Socrates is mortal.")
    asked = "Based on the above information, is the following statement true, false, or unknown? Bob is round."
    found = sentences_of(f"Bob is cold. Bob is red.\n{asked}\nA) True\nB) False")
    assert found == (["Bob is cold.", "Bob is red."], "Bob is round.")
    assert sentences_of("Wrens are birds. Pip is a wren. Pip is a bird.")[1] == "Pip is a bird."
    assert sentences_of("") == ([], "")


@pytest.mark.parametrize("task", ["folio", "proofwriter", "prontoqa"])
def test_every_problem_has_premises_and_a_conclusion(task):
    if not (data_folder() / task).exists():
        pytest.skip("the data are absent")
    for item in find_task(task).load():
        premises, conclusion = sentences_of(item.question)
        assert len(premises) >= 2
        assert conclusion
        assert "?" not in conclusion
        assert not re.search(r"^[A-C]\) ", "\n".join([*premises, conclusion]), re.MULTILINE)


def sentences_of_grammar(source, count):
    """Texts that the grammar's matcher allows, found by walking through it with random bytes."""
    import random

    from llguidance import LLTokenizer, TokenizerWrapper

    from intact.engine.sampling.grammars import LIMITS, _Bytes, matcher

    tokenizer = LLTokenizer(TokenizerWrapper(_Bytes()), n_vocab=257, eos_token=[256])
    for seed in range(10 * count):
        draw, walk, text = random.Random(seed), matcher(tokenizer, "grammar", source, LIMITS), bytearray()
        while len(text) < 150:
            word = int.from_bytes(walk.compute_bitmask(), "little")
            allowed = [byte for byte in range(257) if word >> byte & 1]
            if allowed == [256] or text.endswith(b"\n"):
                break
            ending = [byte for byte in allowed if byte in b"\n),"]
            byte = draw.choice(ending if ending and draw.random() < 0.7 else [b for b in allowed if b != 256])
            assert walk.consume_token(byte)
            text.append(byte)
        if text.endswith(b"\n"):
            yield text.decode()


@pytest.mark.parametrize("known", [None, {"man": 1, "likes": 2}])
def test_what_the_grammar_allows_is_read_unless_a_name_is_of_two_kinds(known):
    texts = list(islice(sentences_of_grammar(grammar(known), 60), 60))
    assert len(texts) == 60
    read = 0
    for text in texts:
        formula = read_formula(text)
        assert formula is not None or "(" in text.partition("(")[2], text  # one name as constant and predicate
        read += formula is not None
        assert known is None or re.match(r"[~(?!\[XYZ\],: ]*(man|likes)\(", text)
    assert read >= 50


def test_what_is_cut_is_no_formula_and_free_variables_are_universal():
    assert read_formula("p(a)") is None
    assert read_formula("(p(X) => q(Y,X))\n") == read_formula("![X]: ![Y]: (p(X) => q(Y,X))\n") is not None
    assert read_formula("(p(a) & p(a,b))\n") is None
    assert read_formula("") is None


@needs_sandbox
def test_the_program_answers_three_questions_and_its_limits_are_limits():
    premises = [read_formula("![X]: (man(X) => mortal(X))\n"), read_formula("man(a)\n")]
    text = queries(premises, read_formula("mortal(a)\n"), 1000)
    assert read_answers(sandbox.run(program(), text).stdout) == "True"
    assert read_answers("") == "Limit"
    assert read_answers("{broken") == "Limit"


def test_a_conversation_is_refused_before_anything_is_written():
    prompt = (("system", "Answer in French."), ("user", QUESTION))
    model = ScriptBackend(lambda *_: pytest.fail("it wrote a text"))
    job = MethodJob(find("linc"), Problem("p0", prompt, find_task("folio").read), {})
    ((_, result),) = Driver({"main": model}).solve([job])
    assert result.why == "failed"
    assert "linc takes only a question (one user turn), got a conversation (system, user)" in result.error
