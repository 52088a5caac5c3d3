"""Self-refine: the model criticises and improves its own answer."""

from __future__ import annotations

from intact._base.errors import SpentError
from intact.reason import Extend, Problem, Steps, method
from intact.reason.aggregate.votes import take
from intact.reason.limits import Natural
from intact.reason.parts.prompting import as_reply, make_prompt, whole

FEEDBACK = """\
{question}

Here is an answer to this:

{answer}

Check it step by step. If there is nothing to improve, end with "{satisfied}". Otherwise say what is wrong."""

REFINE = """\
{question}

Here are earlier answers, each with what was said about it:

{history}

Write an improved answer in full."""

ROUND = "Answer:\n{answer}\n\nFeedback:\n{feedback}"


@method("Madaan et al. 2023, arXiv 2303.17651", version=2, group="revision", temperature=0.7)
def self_refine(
    problem: Problem,
    *,
    rounds: Natural = 3,
    satisfied: str = "No changes needed.",
    feedback: str = FEEDBACK,
    refine: str = REFINE,
) -> Steps:
    """Answer, criticise the answer, and write a better one, until the model finds nothing to improve.

    Parameters
    ----------
    rounds : int
        Maximum number of refinements.
    satisfied : str
        Sentence with which the feedback ends when there is nothing to improve.
    feedback : str
        Prompt template for feedback, with {question}, {answer} and {satisfied}.
    refine : str
        Prompt template for an improved answer, with {question} and {history}.
    """
    answers = [(yield Extend(problem.start))]
    history: list[str] = []
    content = False
    try:
        while len(answers) <= rounds and not content:
            last = answers[-1]
            prompt = make_prompt(problem, feedback, answer=last.text, satisfied=satisfied)
            criticism = (yield Extend(last.ask(prompt))).text
            content = satisfied.rstrip(".").casefold() in criticism.strip().rpartition("\n")[2].casefold()
            if not content:
                history.append(ROUND.format(answer=last.text, feedback=criticism))
                prompt = make_prompt(problem, refine, history="\n\n".join(history))
                answers.append(as_reply(problem, (yield Extend(last.ask(prompt)))))
    except SpentError:
        pass  # the newest answer counts
    usable = [state for state in answers if whole(problem, state)]
    turns = [problem.answers(answers)]
    return take(problem, (usable or answers)[-1], refinements=len(answers) - 1, satisfied=content, turns=turns)
