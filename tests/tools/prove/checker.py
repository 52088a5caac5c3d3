"""A checker of deductions that shares no code with what it checks: it reads their JSON alone."""

from __future__ import annotations

import re
from typing import Any

Term = tuple[Any, ...]
"""(name, argument, ...); a variable is a name with a capital letter."""


def read_term(text: str) -> Term:
    tokens = re.findall(r"'(?:[^'\\]|\\.)*'|\w+|[(),]", text)
    place = 0

    def term() -> Term:
        nonlocal place
        name = tokens[place]
        place += 1
        parts = []
        if place < len(tokens) and tokens[place] == "(":
            while tokens[place] in "(,":
                place += 1
                parts.append(term())
            place += 1
        return (name, *parts)

    result = term()
    assert place == len(tokens), text
    return result


def read_fact(text: str) -> tuple[Term, Term]:
    """A literal as an equation; atoms are equal to truth values."""
    if " != " in text:
        one, other = map(read_term, text.split(" != "))
        return ("equal", one, other), ("false",)
    if " = " in text:
        one, other = map(read_term, text.split(" = "))
        return one, other
    return read_term(text.removeprefix("~ ")), (("false",) if text.startswith("~ ") else ("true",))


def read_rule(text: str) -> tuple[list[str], str]:
    premises, arrow, head = text.rpartition(" => ")
    return (premises.split(" & ") if arrow else []), head


def put(term: Term, values: dict[str, Term]) -> Term:
    if len(term) == 1 and term[0][0].isupper():
        return values.get(term[0], term)
    return (term[0], *[put(part, values) for part in term[1:]])


def put_fact(text: str, values: dict[str, Term]) -> tuple[Term, Term]:
    one, other = read_fact(text)
    return put(one, values), put(other, values)


def follows(equations: list[tuple[Term, Term]], goal: tuple[Term, Term]) -> bool:
    """Congruence closure by repetition: all terms in a list, all pairs compared until nothing changes."""
    terms: dict[Term, None] = {}

    def collect(term: Term) -> None:
        for part in term[1:]:
            collect(part)
        terms[term] = None

    known = list(equations)
    for pair in [*known, goal]:
        for side in pair:
            collect(side)
            if side[0] == "equal":  # equality is reflexive and symmetric
                collect(("equal", side[1], side[1]))
                collect(("equal", side[2], side[1]))
                known.append((("equal", side[1], side[1]), ("true",)))
    collect(("true",))
    collect(("false",))
    colour = {term: place for place, term in enumerate(terms)}
    changed = True

    def join(one: Term, other: Term) -> None:
        nonlocal changed
        first, second = sorted((colour[one], colour[other]))
        if first != second:
            changed = True
            for term in colour:
                colour[term] = first if colour[term] == second else colour[term]

    while changed:
        changed = False
        for one, other in known:
            join(one, other)
        seen: dict[Any, Term] = {}
        for term in colour:
            key = (term[0], *[colour[part] for part in term[1:]])
            join(term, seen.setdefault(key, term))
            if term[0] == "equal":
                join(term, ("equal", term[2], term[1]))
    return colour[goal[0]] == colour[goal[1]]


def check_facts(facts: list[dict[str, Any]], rules: dict[str, list[str]], given: list[str]) -> dict[int, Any]:
    """Every fact is a rule's head for its values, whose premises follow from earlier facts."""
    known: dict[int, tuple[Term, Term]] = {}
    depths: dict[int, int] = {}
    for one in facts:
        fact = read_fact(one["fact"])
        assert one["number"] not in known
        assert all(number < one["number"] for premise in one["premises"] for number in premise)
        if one["rule"] == "":
            assert one["fact"] in given
        else:
            premises, head = read_rule(rules[one["rule"]][one["place"]])
            values = {name: read_term(term) for name, term in one["values"].items()}
            assert put_fact(head, values) == fact
            assert len(premises) == len(one["premises"])
            for text, sources in zip(premises, one["premises"], strict=True):
                assert follows([known[number] for number in sources], put_fact(text, values))
        above = [depths[number] for premise in one["premises"] for number in premise]
        assert one["depth"] > max(above) if above else one["depth"] >= 0
        known[one["number"]], depths[one["number"]] = fact, one["depth"]
    return known


def check(document: dict[str, Any]) -> int:
    """Check all proofs; return the number of facts that were."""
    axioms = {name: document["rules"][name] for name in document["axioms"]}
    known = check_facts(document["facts"], axioms, [])
    if document["contradiction"] is not None:
        assert follows([known[number] for number in document["contradiction"]], (("true",), ("false",)))
    count, earlier = len(known), []
    for goal in document["goals"]:
        assert goal["earlier"] == earlier
        if goal["by"]:
            (rule,) = document["rules"][goal["name"]]
            assert [case["case"] for case in goal["cases"]] == {"direct": ["direct"], "induction": ["base", "step"]}[
                goal["by"]
            ]
            for case in goal["cases"]:
                count += check_case(
                    document, {**axioms, **{name: document["rules"][name] for name in earlier}}, rule, case
                )
            if goal["by"] == "induction":
                assert len({case["variable"] for case in goal["cases"]}) == 1
            earlier = [*earlier, goal["name"]]
    return count


def check_case(document: dict[str, Any], rules: dict[str, list[str]], rule: str, case: dict[str, Any]) -> int:
    premises, head = read_rule(rule)
    constants = {name: read_term(term) for name, term in case["constants"].items()}
    old = set(re.findall(r"\w+", " ".join([text for texts in document["rules"].values() for text in texts])))
    fresh = [term for name, term in constants.items() if name != case["variable"]]
    assert put_fact(head, constants) == read_fact(case["goal"])
    assert [put_fact(text, constants) for text in premises] == [read_fact(text) for text in case["given"]]
    assert set(re.findall(r"\b[A-Z]\w*", rule)) <= set(constants)
    if case["case"] == "base":
        assert constants[case["variable"]] == (document["induction"][0],)
    if case["case"] == "step":
        successor, before = constants[case["variable"]]
        assert successor == document["induction"][1]
        fresh.append(before)
        own, own_head = read_rule(case["hypothesis"])
        under = {case["variable"]: before}
        assert read_fact(own_head) == put_fact(head, under)
        assert [read_fact(text) for text in own] == [put_fact(text, under) for text in premises]
        rules = {**rules, "induction hypothesis": [case["hypothesis"]]}
    else:
        assert case["hypothesis"] is None
    assert all(len(term) == 1 and term[0] not in old for term in fresh)
    assert len(set(fresh)) == len(fresh)
    known = check_facts(case["facts"], rules, case["given"])
    sources = [known[number] for number in case["from"]]
    assert follows(sources, (("true",), ("false",)) if case["contradiction"] else read_fact(case["goal"]))
    return len(known)
