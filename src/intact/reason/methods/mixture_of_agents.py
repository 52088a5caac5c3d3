"""Mixture of agents: layers of models, where each layer sees the replies of the layer before it."""

from __future__ import annotations

from intact.reason import Extend, Problem, Steps, method
from intact.reason.aggregate.votes import elect, take
from intact.reason.limits import Count, ModelName, ModelNames, model_names
from intact.reason.parts.comparing import numbered
from intact.reason.parts.prompting import as_reply, make_prompt, whole
from intact.reason.parts.stepwise import until_spent

AGGREGATE = """\
{question}

Several models have answered this:

{answers}

Make of these one answer of high quality. Examine them critically, as some of them may be one-sided or wrong; do not \
simply repeat them, but write a complete, accurate and well-ordered answer."""


@method("Wang et al. 2024, arXiv 2406.04692", group="plans, roles and layers of models", temperature=0.7)
def mixture_of_agents(
    problem: Problem,
    *,
    n: Count = 4,
    layers: Count = 3,
    models: ModelNames = "",
    aggregator: ModelName = "",
    aggregate: str = AGGREGATE,
) -> Steps:
    """Have several models answer, pass all replies on to the next layer, and have one model write the final answer.

    Parameters
    ----------
    n : int
        Number of replies per layer.
    layers : int
        Number of layers; the last is only the aggregator, so 1 runs the aggregator without any replies.
    models : str
        Names of the models that write the replies in turn, separated by commas; by default the main model.
    aggregator : str
        Name of the model that writes the final reply; by default the main model.
    aggregate : str
        Prompt template for combining replies, with {question} and {answers}.
    """
    names = model_names(models)
    replies = []
    start = problem.start
    with until_spent() as spent:
        for _ in range(layers - 1):
            replies = yield [Extend(start, model=names[i % len(names)]) for i in range(n)]
            replies = [as_reply(problem, reply) for reply in replies]
            start = problem.ask(make_prompt(problem, aggregate, answers=numbered([reply.text for reply in replies])))
        conclusion = as_reply(problem, (yield Extend(start, model=aggregator)))
        if whole(problem, conclusion) or not replies:
            return take(problem, conclusion, replies=problem.answers(replies))
    if spent and not replies:
        raise spent[0]
    return elect(problem, replies)
