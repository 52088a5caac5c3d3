"""Inequality tasks: every answer is right by a judge that shares no code, seeds decide all, decimals are exact."""

import re
from fractions import Fraction

import pytest
import sympy

from intact._base.errors import ParameterError
from intact.tasks.choose import choose
from intact.tasks.inequalities import CHOICES, NAMES, InequalityBounds
from intact.tools.prove.inequalities import relation
from intact.tools.prove.polynomials import parse_polynomial


@pytest.mark.parametrize("variables", [1, 2, 3])
def test_bounds_are_those_that_sympy_finds(variables):
    task = choose(f"inequality_bounds:variables={variables},size=15,seed=3")
    for item in task.load():
        text = re.search(r"such that (.*) >= C", item.question)[1]
        names = [name for name in NAMES[:variables] if name in text]
        polynomial = sympy.sympify(text.replace("^", "**"))
        symbols = [sympy.Symbol(name) for name in names]
        (solution,) = sympy.solve([polynomial.diff(one) for one in symbols], symbols, dict=True) or [{}]
        assert sympy.simplify(polynomial.subs(solution)) == sympy.Rational(item.answer)


@pytest.mark.parametrize("variables", [1, 2, 3])
def test_relations_are_not_refuted_by_any_point(variables):
    task = choose(f"inequality_relations:variables={variables},size=20")
    kinds = list(CHOICES)
    holds = {">=": lambda a, b: a >= b, "<=": lambda a, b: a <= b, ">": lambda a, b: a > b, "<": lambda a, b: a < b}
    for item in task.load():
        sides = re.match(r"How do (.*) and (.*) compare", item.question.split("\n")[0])
        left, right = (parse_polynomial(side, NAMES[:variables]) for side in sides.groups())
        found = kinds["ABCDE".index(item.answer)]
        assert relation(left, right) == found
        values = [
            (left(point), right(point))
            for point in [tuple(Fraction(3 * k + j, 2) for j in range(variables)) for k in range(-6, 7)]
        ]
        if found != "none":
            assert all(holds[found](a, b) for a, b in values)


def test_an_answer_is_right_exactly():
    task = InequalityBounds(size=40)
    item = next(one for one in task.load() if "/3" in one.answer or "/7" in one.answer or "/5" in one.answer)
    value = Fraction(item.answer)
    assert task.correct(item, task.read(f"\\boxed{{{value.numerator}/{value.denominator}}}"))
    assert not task.correct(item, str(float(value) + 1e-9))
    assert not task.correct(item, str(int(value) - 1))
    assert not task.correct(item, None)


def test_items_depend_on_the_seed_alone():
    one, other = choose("inequality_relations:size=5"), choose("inequality_relations:size=9")
    assert one.load() == other.load()[:5]
    assert one.load() != choose("inequality_relations:size=5,seed=1").load()
    with pytest.raises(ParameterError, match="variables must be from 1 to 3, got 4"):
        choose("inequality_bounds:variables=4")
