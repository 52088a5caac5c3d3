"""The reader of TPTP: what it reads, and errors that name line and column."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from intact._base.errors import FormatError
from intact.tools.prove.formula import Apply, Atom, Binary, LogicProblem, Not, Quantified, Truth, Variable
from intact.tools.prove.tptp import format_problem, parse, parse_formula


def test_annotations_comments_and_quotes_are_read():
    text = "% a remark\n/* another */ fof('my axiom', axiom, 'Big'('it\\'s') != b, file('x.p', [1, 2]), [note])."
    problem = parse(text)
    sides = (Apply("Big", (Apply("it's"),)), Apply("b"))
    assert problem == LogicProblem({"my axiom": Not(Atom("=", sides))})
    with pytest.raises(FormatError, match="Big is a function with 0 arguments here, but was a function with 1"):
        parse(text + "fof(b, axiom, 'Big' = b).")


def test_clauses_hold_for_all_their_variables():
    assert parse("cnf(a, axiom, p(X) | ~ q(Y)).").axioms["a"] == parse_formula("![X,Y]: (p(X) | ~q(Y))")


def test_connectives():
    assert parse_formula("p <= q") == parse_formula("q => p")
    assert parse_formula("p ~& q") == Not(Binary("&", Atom("p"), Atom("q")))
    assert parse_formula("p & q & r") == parse_formula("(p & q) & r")
    assert parse_formula("![X]: p(X) & q") == Binary("&", Quantified("!", "X", Atom("p", (Variable("X"),))), Atom("q"))
    assert parse_formula("$true <~> $false") == Binary("<~>", Truth(True), Truth(False))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("fof(a, axiom,\n  p(X)).", "line 1, column 1: no quantifier binds X"),
        ("fof(a, axiom, p & q | r).", r"column 21: brackets are needed between & and \|"),
        ("fof(a, axiom, p => q => r).", "column 22: brackets are needed between => and =>"),
        ("fof(a, axiom, p", r"expected '\)', got the end"),
        ("fof(a, axiom, p)", "expected '.', got the end"),
        ("include('other.p').", "include is not supported"),
        ("fof(a, axiom, p(1)).", "column 17: numbers"),
        ('fof(a, axiom, p("x")).', "objects in quotes"),
        ("fof(a, axiom, " + "~" * 500 + "p).", "nested 100 deep"),
        ("fof(a, axiom, " + "(" * 500 + "p).", "nested 100 deep"),
        ("fof(a, axiom, p(" + "f(" * 500 + "a).", "nested 100 deep"),
        ("", "contains no formula"),
        ("% nothing\n", "contains no formula"),
        ("fof(a, axiom, p(a) & p(a, b)).", "p is a predicate with 2 arguments here, but was a predicate with 1"),
        ("fof(a, axiom, p(p)).", "p is a function with 0 arguments here, but was a predicate with 1"),
        ("fof(a, guess, p).", "column 8: the role must be conjecture or one of axiom"),
        ("fof(a, axiom, p).\nfof(a, axiom, q).", "line 2, column 1: there are two formulas named 'a'"),
        ("fof(a, conjecture, p).\nfof(b, conjecture, q).", "line 2, column 1: there are two conjectures"),
        ("tff(a, axiom, p).", r"expected fof\( or cnf\("),
        ("fof(a, axiom, X).", "X is a variable"),
        ("fof(a, axiom, p # q).", "column 17: unexpected '#'"),
        ("fof(a, axiom, ![x]: p(x)).", "column 17: expected a variable"),
        ("fof(a, axiom, p, [", r"expected '\)'"),
        ("fof(a, axiom, \x00).", "unexpected"),
        ("fof(a, axiom, '='(c)).", "line 1, column 15: '=' in quotes is not a symbol"),
        ("fof(a, axiom, p('=')).", "line 1, column 15: '=' in quotes is not a symbol"),
    ],
)
def test_bad_text_is_refused_with_its_place(text, message):
    with pytest.raises(FormatError, match=message):
        parse(text, "x.p")


def test_long_chains_are_flat_and_long_texts_refused():
    chain = parse_formula(" & ".join(f"p{number}" for number in range(5000)))
    assert (
        parse_formula(format_problem(LogicProblem({"a": chain})).partition("axiom, ")[2].removesuffix(").\n")) == chain
    )
    with pytest.raises(FormatError, match="1,048,576 characters"):
        parse("%" * (1 << 21))


_TERMS = st.sampled_from([Variable("X"), Variable("Y"), Apply("a"), Apply("f", (Variable("X"),)), Apply("It's")])
_ATOMS = st.one_of(
    st.sampled_from([Truth(True), Truth(False)]),
    _TERMS.map(lambda t: Atom("p", (t,))),
    st.tuples(_TERMS, _TERMS).map(lambda pair: Atom("=", pair)),
)
_FORMULAS = st.recursive(
    _ATOMS,
    lambda inner: st.one_of(
        inner.map(Not),
        st.builds(Binary, st.sampled_from(["&", "|", "=>", "<=>", "<~>"]), inner, inner),
        st.builds(Quantified, st.sampled_from("!?"), st.sampled_from(["X", "Y"]), inner),
    ),
    max_leaves=12,
)


@given(_FORMULAS, _FORMULAS)
def test_what_is_written_is_read_again(one, other):
    def closed(formula):
        return Quantified("!", "X", Quantified("!", "Y", formula))

    problem = LogicProblem({"first one": closed(one)}, closed(other))
    assert parse(format_problem(problem)) == problem
