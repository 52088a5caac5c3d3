"""Prompt types: what they change of a task's prompts, and which tasks take them."""

import pytest

from intact._base.errors import ParameterError
from intact.tasks.choose import choose
from intact.tasks.prompting import PROMPTS, REASONING
from intact.tasks.task import all_tasks

ITEM = choose("gsm_ranges:size=1").load()[0]


def asked(kind, style, task="gsm_ranges:size=1", **options):
    words = ",".join([task, f"prompt={kind}", *(f"{name}={value}" for name, value in options.items())])
    return choose(words).problem(ITEM, style, 0)


def test_the_default_type_is_the_task_as_it_is_written():
    plain = choose("gsm_ranges:size=1")
    for style in ("chat", "base"):
        assert asked("steps", style).prompt == plain.problem(ITEM, style, 0).prompt
    assert choose("gsm_ranges:size=1,prompt=steps").label == plain.label
    assert choose("gsm_ranges:prompt=direct").label == "gsm_ranges:prompt=direct"


def test_a_type_changes_how_a_chat_model_is_asked_and_not_how_it_writes_its_answer():
    prompts = {kind: asked(kind, "chat").prompt[-1][1] for kind in PROMPTS}
    assert len(set(prompts.values())) == len(PROMPTS)
    for text in prompts.values():
        assert text.startswith(ITEM.question)
        assert text.endswith("put the final number within \\boxed{}.")
    assert "step by step" not in prompts["direct"]
    assert '"Reflection:"' in prompts["reflective"]


def test_examples_of_a_type_end_in_the_same_answers():
    plain = choose("gsm_ranges:size=1").task
    for kind in ("direct", "reflective"):
        for shots in (1, 4):
            texts = asked(kind, "base", shots=shots).prompt.split("\n\nQuestion: ")[1:]
            assert len(texts) == shots + 1
            for text, (question, answer) in zip(texts[:-1], plain.shots, strict=False):
                assert text.startswith(question)
                written = text.removeprefix(question).removeprefix("\nAnswer: ")
                assert plain.read(written) == plain.read(answer)
                assert written.count("Reflection:") == (answer.count(". ") if kind == "reflective" else 0)
                assert kind == "reflective" or written == answer.rpartition(". ")[2]
    assert asked("direct", "base", shots=0).prompt.startswith("Task: Answer each question without any reasoning.\n\n")
    assert [turn[0] for turn in asked("direct", "chat", shots=2).prompt] == ["user", "assistant"] * 2 + ["user"]
    assert asked("direct", "chat", shots=1).prompt[1][1] == plain.shots[0][1].rpartition(". ")[2]


@pytest.mark.parametrize("name", sorted(all_tasks()))
def test_a_task_takes_the_types_if_it_asks_for_steps_of_reasoning(name):
    task = all_tasks()[name]
    if task.instruction.startswith(REASONING):
        assert choose(f"{name}:prompt=reflective").prompt == "reflective"
        return
    assert "step by step" not in task.instruction, "its instruction asks for steps in words that types cannot replace"
    with pytest.raises(ParameterError, match="prompt=direct needs a task that asks for steps"):
        choose(f"{name}:prompt=direct")


def test_a_type_that_there_is_not_is_named():
    with pytest.raises(ParameterError, match="prompt must be steps, direct or reflective, got 'long'"):
        choose("gsm8k:prompt=long")
