"""Answers that use passages from a local collection, retrieved once or again for each follow-up question."""

from __future__ import annotations

import re

from intact.reason import Extend, Part, Problem, Read, State, Steps, method
from intact.reason.aggregate.votes import elect
from intact.reason.limits import Count, Natural
from intact.reason.parts.prompting import as_reply, make_prompt, question
from intact.reason.parts.stepwise import until_spent
from intact.tools.retrieve import Index, passages

WITH_PASSAGES = """\
Here are passages that may help:

{passages}

{question}"""

FOLLOW_UP = """\
{question}

What is known so far:
{known}

If a fact is still missing to answer this, ask for it with the line "Follow-up: " and one short question that a search \
can answer. If none is missing, write the line "No follow-up"."""

INTERMEDIATE = """\
Here are passages that may help:

{passages}

Answer in one sentence, from these passages alone: {follow_up}"""

NOTHING = "(nothing yet)"

_FOLLOW_UP = re.compile(r"^[^\w\n]*follow-?up\b[^\w\n]*(\S[^\n]*)$", re.IGNORECASE | re.MULTILINE)


def read_follow_up(text: str) -> str | None:
    """Return the question in the last line of the form "Follow-up: QUESTION"; None if there is no such line."""
    found = _FOLLOW_UP.findall(text)
    return found[-1].strip() if found else None


def listed(index: Index, places: list[int]) -> str:
    """Return the passages as one string, with the best last so that it is closest to the question."""
    return "\n\n".join([index.texts[place] for place in reversed(places)])


def _index(file: str) -> Part[Index]:
    """Read and index a collection; without a file, it is empty."""
    text = (yield Read(file)) if file else ""
    return Index(passages(text))


def _start(problem: Problem, template: str, context: str) -> State:
    return problem.ask(make_prompt(problem, template, passages=context)) if context else problem.start


@method(
    "Lewis et al. 2020, arXiv 2005.11401; Yue et al. 2024, arXiv 2410.04343 (DRAG)",
    group="passages and memory, read from files",
    temperature=0.7,
)
def retrieval(
    problem: Problem, *, file: str = "", k: Count = 5, n: Count = 1, with_passages: str = WITH_PASSAGES
) -> Steps:
    """Retrieve the k passages of a collection that are closest to the question, and answer with them in the prompt.

    Parameters
    ----------
    file : str
        Collection of passages, separated by empty lines; without a file, there are no passages.
    k : int
        Maximum number of passages.
    n : int
        Number of answers that vote.
    with_passages : str
        Prompt template for the question, with {question} and {passages}.
    """
    index = yield from _index(file)
    places = [hit.place for hit in index.search(question(problem), k)]
    texts = yield [Extend(_start(problem, with_passages, listed(index, places)))] * n
    return elect(problem, [as_reply(problem, text) for text in texts], passages=places)


@method("Yue et al. 2024, arXiv 2410.04343 (IterDRAG)", group="passages and memory, read from files", temperature=0.7)
def iterative_retrieval(
    problem: Problem,
    *,
    file: str = "",
    k: Count = 5,
    n: Count = 1,
    rounds: Natural = 5,
    with_passages: str = WITH_PASSAGES,
    follow_up: str = FOLLOW_UP,
    intermediate: str = INTERMEDIATE,
) -> Steps:
    """Ask follow-up questions, answer each from its closest passages, then answer the question from all passages.

    Parameters
    ----------
    file : str
        Collection of passages, separated by empty lines; without a file, there are no passages.
    k : int
        Maximum number of passages per search.
    n : int
        Number of answers that vote.
    rounds : int
        Maximum number of follow-up questions.
    with_passages : str
        Prompt template for the final question, with {question} and {passages}.
    follow_up : str
        Prompt template for a follow-up question, with {question} and {known}.
    intermediate : str
        Prompt template for answering the follow-up question, with {question}, {passages} and {follow_up}.
    """
    index = yield from _index(file)
    places = [hit.place for hit in index.search(question(problem), k)]
    known: list[str] = []
    with until_spent():
        while places and len(known) < rounds:
            prompt = make_prompt(problem, follow_up, known="\n".join(known) or NOTHING)
            further = read_follow_up((yield Extend(problem.ask(prompt))).text)
            if further is None:
                break
            found = [hit.place for hit in index.search(further, k)]
            values = {"passages": listed(index, found), "follow_up": further}
            reply = yield Extend(problem.ask(make_prompt(problem, intermediate, **values)))
            known.append(f"{further} {reply.text.strip()}")
            places = [place for place in found if place not in places] + places
    context = "\n\n".join(filter(None, [listed(index, places), *known]))
    texts = yield [Extend(_start(problem, with_passages, context))] * n
    return elect(problem, [as_reply(problem, text) for text in texts], passages=places, known=known)
