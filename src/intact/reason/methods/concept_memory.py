"""ArcMemo: a memory of concepts, from which the model chooses the ones that fit the problem."""

from __future__ import annotations

import re

from intact.reason import Extend, Problem, Read, Steps, method
from intact.reason.aggregate.votes import elect
from intact.reason.limits import Count
from intact.reason.parts.comparing import demand
from intact.reason.parts.concepts import check_sources, read_memory
from intact.reason.parts.prompting import as_reply, make_prompt, question
from intact.reason.parts.stepwise import until_spent
from intact.tools.retrieve import Index

SELECT = """\
{question}

Here are concepts from earlier problems:

{concepts}

Name those that help with this problem, {most} at most. End with the line "Concepts: " and their numbers, or \
"Concepts: none"."""

USE = """\
Here are concepts that helped with earlier problems; use them where they fit:

{concepts}

{question}"""


def read_concepts(text: str, count: int) -> list[int] | None:
    """Return the zero-based indices in the last line of the form "Concepts: 1, 3"; None if there is no such line."""
    found = re.findall(r"^[^\w\n]*concepts\b([^\n]*)$", text, re.IGNORECASE | re.MULTILINE)
    if not found or not re.search(r"\w", found[-1]):
        return None
    named = [int(number) - 1 for number in re.findall(r"\d{1,9}", found[-1])]
    return list(dict.fromkeys(place for place in named if 0 <= place < count))


@method("Ho et al. 2025, arXiv 2509.04439", group="passages and memory, read from files", temperature=0.7)
def concept_memory(
    problem: Problem,
    *,
    file: str = "",
    n: Count = 4,
    most: Count = 5,
    candidates: Count = 40,
    select: str = SELECT,
    use: str = USE,
) -> Steps:
    """Have the model choose concepts that fit the problem from a memory, answer with them in the prompt, and vote.

    Parameters
    ----------
    file : str
        Memory file: concepts in plain text, separated by empty lines, as written by `intact learn concepts`; without a
        file, there are no concepts.
    n : int
        Number of answers that vote.
    most : int
        Maximum number of concepts used.
    candidates : int
        Maximum number of concepts to choose from; if the file has more, those closest to the question by BM25 are
        offered.
    select : str
        Prompt template for the choice, with {question}, {concepts} and {most}; the reply ends in "Concepts: NUMBERS".
    use : str
        Prompt template for the question, with {question} and {concepts}.
    """
    memory, sources = read_memory((yield Read(file)) if file else "", file)
    check_sources(problem, sources, file)
    near = [hit.place for hit in Index(memory).search(question(problem), candidates)]
    near = sorted([*near, *[i for i in range(len(memory)) if i not in near]][:candidates])
    chosen: list[int] = []
    with until_spent():
        if near:
            listed = "\n\n".join([f"Concept {number}: {memory[i]}" for number, i in enumerate(near, 1)])
            prompt = problem.ask(make_prompt(problem, select, concepts=listed, most=str(most)))
            ((_, named),) = yield from demand([prompt], lambda text: read_concepts(text, len(near)), "\n\nConcepts:")
            chosen = [near[place] for place in named or ()][:most]
    concepts = "\n\n".join([memory[i] for i in chosen])
    start = problem.ask(make_prompt(problem, use, concepts=concepts)) if concepts else problem.start
    texts = yield [Extend(start)] * n
    return elect(problem, [as_reply(problem, text) for text in texts], concepts=chosen)
