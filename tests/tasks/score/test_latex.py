"""LaTeX in many spellings means the same, and what means something else stays different."""

from __future__ import annotations

import pytest

from intact.tasks.score import answers
from intact.tasks.score.latex import plain, undressed
from intact.tasks.score.latex_syntax import parse
from support.spellings import SPELLINGS, judged_right, slips
from support.spellings import answers as right_answers

needs_algebra = pytest.mark.skipif(
    "not __import__('importlib.util').util.find_spec('math_verify')", reason="needs math-verify"
)


@pytest.fixture(scope="module")
def right(data_dir):
    """The different answers of MATH-500, of integers each tenth."""
    every = list(dict.fromkeys(right_answers(data_dir)))
    integers = [answer for answer in every if answer.lstrip("-").isdigit()]
    return [*integers[::10], *(answer for answer in every if answer not in integers)]


@needs_algebra
@pytest.mark.parametrize("name", SPELLINGS)
def test_every_spelling_of_a_right_answer_is_right(name, right):
    spelt = [(answer, SPELLINGS[name](answer)) for answer in right]
    assert any(answer != given for answer, given in spelt) or name == "as given"
    assert [pair for pair in spelt if not judged_right(*pair)] == []


@needs_algebra
def test_a_slip_in_a_right_answer_is_wrong(right):
    made = [(answer, slip) for answer in right for slip in slips(answer)]
    assert len(made) > 300
    assert [pair for pair in made[::12] if judged_right(*pair)] == []


@needs_algebra
def test_different_right_answers_get_no_common_vote(right):
    """Those of one vote are equal: 0 in two forms and y = -2x."""
    votes: dict[str, list[str]] = {}
    for answer in right:
        votes.setdefault(answers.simplest(answer), []).append(answer)
    merged = [group for group in votes.values() if len(group) > 1]
    for group in merged:
        assert len({"".join(sorted(undressed(answer).replace("{", "").replace("}", ""))) for answer in group}) == 1


@needs_algebra
@pytest.mark.parametrize(
    "form",
    [
        r"\begin{pmatrix}A\\B\end{pmatrix}",
        r"\begin{pmatrix}A\\ B\end{pmatrix}",
        r"\begin{pmatrix}A\ \\\ B\end{pmatrix}",
        r"\begin{pmatrix}A&B\end{pmatrix}",
        r"\left(\begin{array}{c}A\\B\end{array}\right)",
        "(A;B)",
        "(A,B)",
    ],
)
def test_columns_and_pairs_with_other_numbers_differ(form):
    read = {answers.simplest(form.replace("A", a).replace("B", b)) for a, b in ("23", "32", "14", "41", "05", "56")}
    assert len(read) == 6


@needs_algebra
@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("3R^2", "3r^2"),
        ("100, 200", "100200"),
        (r"\begin{pmatrix}1&2\\3&4\end{pmatrix}", r"\begin{pmatrix}1&3\\2&4\end{pmatrix}"),
        (r"\begin{pmatrix}1&2\\3&4\end{pmatrix}", r"\begin{vmatrix}1&2\\3&4\end{vmatrix}"),
        (r"\begin{pmatrix}1\\2\end{pmatrix}", r"\begin{pmatrix}1&2\end{pmatrix}"),
        (r"\frac{1}{23}", r"\frac{12}{3}"),
        (r"\frac12 3", r"\frac{1}{23}"),
        (r"\sqrt2x", r"\sqrt{2x}"),
        ("x^{12}", "x^12x"),
        ("x_1", "x_2"),
        (r"\sqrt[3]{2}", r"\sqrt{2}"),
        (r"\text{even}", r"\text{odd}"),
        (r"\{1,2\}", r"\{1,2,3\}"),
        (r"(-\infty,2]", r"(-\infty,2)"),
        (r"1{,}000", "1,00"),
        (r"x\leq 3", r"x<3"),
        (r"-\frac12", r"\frac12"),
        (r"2\frac12", r"\frac{2}{2}"),
        ("5 + 7 = 12", "1 + 1 = 2"),
    ],
)
def test_what_means_something_else_differs(one, other):
    assert not answers.same(one, other)
    assert answers.simplest(one) != answers.simplest(other)


@pytest.mark.parametrize(
    ("latex", "bare"),
    [
        (r"\begin{pmatrix}-2\\-14\\-7\end{pmatrix}", r"\begin{pmatrix}-2 \\ -14 \\ -7\end{pmatrix}"),
        (r"\left[\begin{array}{cc}1 & 2\cr 3&4 \\ \end{array}\right]", r"\begin{pmatrix}1 & 2 \\ 3 & 4\end{pmatrix}"),
        (r"\left|\begin{matrix}1\end{matrix}\right|", r"\begin{vmatrix}1\end{vmatrix}"),
        (r"\begin{cases}1 & x \\ 2 & y\end{cases}", r"\begin{cases}1 & x \\ 2 & y\end{cases}"),
        (r"\cfrac 59", r"\frac{5}{9}"),
        (r"\frac\pi2", r"\frac{\pi}{2}"),
        (r"x^\frac12", r"x^{\frac{1}{2}}"),
        (r"\left.x\right|_{x=1}", r"x|_{x=1}"),
        (r"\Bigl\lbrace 1\,,\;2 \Bigr\rbrace", r"\{1,2\}"),
        (r"10,\! 080", "10080"),
        (r"1\,234\,567.5", "1234567.5"),
        (r"0.123\,456", "0.123 456"),
        (r"\$36", "36"),
        (r"90^{\circ}", "90"),
        (r"5\,\mathrm{m}/\mathrm{s}^{2}", "5"),
        (r"8\pi\text{ cm}^2", r"8\pi"),
        (r"x \in [-2,7]", "[-2,7]"),
        (r"f(x) = x^2", "x^{2}"),
        (r"5x - 7y + 4 = 0", "5x-7y+4=0"),
        (r"2 \text{ or } 3", "2,3"),
        ("{", "{"),
        ("}", "}"),
        ("\\", "\\"),
    ],
)
def test_an_expression_has_one_form(latex, bare):
    assert undressed(latex) == bare
    assert undressed(bare) == bare


@pytest.mark.parametrize(
    ("text", "typed"),
    [
        (r"$12 / 4$ is 3", "12 / 4 is 3"),
        ("$5 and $6", "$5 and $6"),
        ("from $5 to 6$ or $ \\pi $", r"from 5 to 6 or \pi "),
        (r"\$5 and $6$", "$5 and 6"),
        (r"L\frac12", "L*1/2"),
        (r"\frac12x", "1/2*x"),
        (r"3\frac12", "3 1/2"),
        (r"2^3\frac12", "2^3*1/2"),
        (r"\frac{400}{L + 2.2}", "400/(L + 2.2)"),
        (r"\frac{\frac12}{3}", "(1/2)/3"),
        (r"3\sqrt{16}", "3*sqrt(16)"),
        (r"\sqrt[3]{8}", "(8)^(1/3)"),
        (r"\left|-7\right|", "|-7|"),
        (r"10^{-1}", "10^{-1}"),
        (r"5\text{ dollars}", "5 dollars"),
        (r"5\text{dollars}", "5 dollars"),
        (r"3 \times 4 \div 2 \approx 6\%", "3 * 4 / 2 ≈ 6%"),
        (r"\begin{align*}a &= 3 \\ b &= 4\end{align*}", "a = 3 ;  b = 4"),
        ('{"a": [1, 2]}', '{"a": [1, 2]}'),
        ("no LaTeX × here", "no LaTeX * here"),
    ],
)
def test_latex_is_typed_as_arithmetic(text, typed):
    assert plain(text) == typed


@pytest.mark.parametrize(
    "text",
    [
        "{" * 500 + "}" * 500,
        r"\frac" * 500,
        r"\sqrt{" * 300,
        "^" * 500,
        r"\begin{pmatrix}" * 300,
        "$" * 501,
        r"\text" * 300,
    ],
)
def test_what_is_nested_without_end_is_one_leaf_or_ends(text):
    parse(text)
    assert isinstance(undressed(text), str)
    assert isinstance(plain(text), str)
