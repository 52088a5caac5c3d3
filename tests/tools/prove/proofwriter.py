"""ProofWriter's English to formulas by templates: it has a dozen forms of sentences."""

from __future__ import annotations

import re

from intact.tools.prove.formula import Apply, Atom, Binary, Formula, Not, Quantified, Term, Variable, joined

SOMETHING = ("something", "someone", "it", "they")
VERB = r"eats?|sees?|needs?|likes?|visits?|chases?"


def subject(text: str) -> Term:
    words = text.lower().removeprefix("the ").strip()
    return Variable("X") if words in SOMETHING else Apply(words)


def literal(text: str) -> Formula:
    """Such as `the cat is not green`, `they see the cow`, `Bob does not like the dog`."""
    found = re.fullmatch(r"(.+?) (?:is|are) (not )?(\w+)", text)
    if found:
        atom = Atom(found[3].lower(), (subject(found[1]),))
        return Not(atom) if found[2] else atom
    found = re.fullmatch(rf"(.+?) ((?:does|do) not )?({VERB}) (.+)", text)
    assert found, text
    atom = Atom(found[3].lower().removesuffix("s"), (subject(found[1]), subject(found[4])))
    return Not(atom) if found[2] else atom


def sentence(text: str) -> Formula:
    text = text.strip().removesuffix(".")
    found = re.fullmatch(r"If (.+) then (.+)", text)
    if found:
        premises: list[Formula] = []
        who = ""
        for part in re.split(r" and |, ", found[1]):
            if re.fullmatch(r"(not )?\w+", part):  # of the subject before it
                part = f"{who} is {part}"
            who = re.split(rf" (?:is|are|does|do|{VERB}) ", part)[0]
            premises.append(literal(part))
        return Quantified("!", "X", Binary("=>", joined("&", premises), literal(found[2])))
    found = re.fullmatch(r"(?:All )?([\w, ]+) (?:things|people) are (not )?(\w+)", text)
    if found:
        kinds = [Atom(word.lower(), (Variable("X"),)) for word in re.findall(r"\w+", found[1]) if word != "All"]
        head: Formula = Atom(found[3].lower(), (Variable("X"),))
        return Quantified("!", "X", Binary("=>", joined("&", kinds), Not(head) if found[2] else head))
    return literal(text)


def theory(context: str) -> list[Formula]:
    return [sentence(one) for one in context.split(". ")]
