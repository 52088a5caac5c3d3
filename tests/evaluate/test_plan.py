"""What is to be evaluated: what a result file could not state is refused before anything runs."""

import math

import pytest

from intact._base.errors import ParameterError
from intact.evaluate.manifest import command
from intact.evaluate.plan import plan
from intact.tasks.choose import choose

TASKS = [choose("gsm_ranges:size=1")]


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_numbers_that_are_none_are_refused(value):
    with pytest.raises(ParameterError, match=f"exploration must be a finite number, got {value}"):
        plan(TASKS, "uct_search", {"exploration": value})
    with pytest.raises(ParameterError, match=rf"temperature must lie in \[0, 1000\], got {value}"):
        plan(TASKS, "self_consistency", sampling={"temperature": value})


def test_the_command_names_further_models_as_they_were_given():
    planned = plan(TASKS, "self_consistency", others={"large": "qwen2.5-coder-1.5b-instruct"})
    words = command(planned, ["smollm2", "large", "judge"])
    assert "intact eval smollm2 gsm_ranges:size=1 --with large=qwen2.5-coder-1.5b-instruct --with judge=judge " in words


@pytest.mark.parametrize("tasks", ["gsm8k", [], ["gsm8k"]])
def test_what_is_no_list_of_chosen_tasks_is_named(tasks):
    with pytest.raises(ParameterError, match=r"a list such as \[choose\('gsm8k'\)\]"):
        plan(tasks, "self_consistency")
