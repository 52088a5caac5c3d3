"""Values that cannot work, alone or together, are refused before a method begins."""

import re
from typing import Any

import pytest

from intact._base.errors import ParameterError
from intact.reason import all_methods, find
from intact.reason.testing.checks import problems
from intact.tasks.score.available import check_method

IMPOSSIBLE = [
    ("archon", {"layers": "critique"}, "the first layer, and no other"),
    ("archon", {"layers": "critique", "tool": "python"}, "the first layer, and no other"),
    ("archon", {"layers": "generate 2, tests, run"}, "needs a tool that runs programs: tool=python"),
    ("beam_search", {"n": 6, "width": 4}, "n must be a multiple of the width, got n = 6 and width = 4"),
    ("beam_search", {"width": 5}, "n must be a multiple of the width, got n = 16 and width = 5"),
    ("diff_adapt", {"gamma": 0.7}, "gamma must be at most alpha (0.6), got 0.7"),
    ("dvts", {"n": 2}, "n must be a multiple of the width"),
    ("early_rejection", {"n": 6, "width": 4}, "n must be a multiple of the width"),
    ("generative_verifier", {"n": 1 << 12, "checks": 1 << 12}, "n and checks give 16,777,216 texts at once"),
    ("hypothesis_search", {"n": 1 << 12, "programs": 1 << 12}, "n and programs give"),
    ("last_finish", {"n": 2, "k": 3}, "k must be at most n (2), got 3"),
    ("marker_vote", {"markers": " , "}, "markers must name at least one word"),
    ("no_thinking_certain", {"top": 20, "vocabulary": 10}, "vocabulary must lie in [20, 2.14748e+09], got 10"),
    ("pairwise_selection", {"most": 1 << 10}, "the pairs of most answers give"),
    ("pattern_agent", {"tool": "hammer"}, "tool must be one of"),
    ("phi_decoding", {"k": 1 << 12, "width": 1 << 12}, "k and width give"),
    ("plan_search", {"observations": 16, "combine": 16, "levels": 3}, "combinations of observations at all levels"),
    ("proof_search", {"perspectives": ","}, "perspectives must name one of"),
    ("resample_until_verified", {"rates": "2"}, "rates must lie in [0, 1]"),
    ("self_certainty", {"top": 20, "vocabulary": 10}, "vocabulary must lie in"),
    ("short_m_at_k", {"k": 2}, "m must be at most k (2), got 3"),
    ("step_pruning", {"markers": ""}, "markers must name at least one word"),
    ("tree_of_thoughts", {"k": 1 << 9, "width": 1 << 9, "checks": 1}, "k, width and checks give"),
]  # fmt: skip


@pytest.mark.parametrize(("name", "values", "message"), IMPOSSIBLE)
def test_values_that_cannot_work_are_refused_before_a_method_begins(
    name: str, values: dict[str, Any], message: str
) -> None:
    found, match = find(name), re.escape(message)
    for refusing in (
        lambda: found.read(values),
        lambda: found.parse([(one, str(value)) for one, value in values.items()]),
        lambda: found(problems(1)[0], **values),
        lambda: check_method(found, values),
    ):
        with pytest.raises(ParameterError, match=match):
            refusing()


def test_the_defaults_of_all_methods_go_together() -> None:
    for found in all_methods().values():
        found.check_together({})
