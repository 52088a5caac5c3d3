"""A reasoning method of one's own: a generator function that reads like its paper.

python examples/own_method.py [MODEL]
intact solve examples/own_method.py:debate "What is 17 * 23?" -m MODEL --set n=4
"""

import sys

import intact
from intact.reason import Extend, Problem, Steps, method
from intact.reason.aggregate.votes import elect


@method("after Du et al. 2023, arXiv 2305.14325", temperature=0.7)
def debate(problem: Problem, *, n: int = 3) -> Steps:
    """Sample n answers, show each writer another's, and take the answer that most give then.

    Parameters
    ----------
    n : int
        Writers.
    """
    first = yield [Extend(problem.start)] * n
    shown = [state.append(f"\nAnother answer: {first[i - 1].text}\nOn reflection, ") for i, state in enumerate(first)]
    second = yield [Extend(state) for state in shown]
    return elect(problem, second)


if __name__ == "__main__":
    model = intact.load(*sys.argv[1:2])
    result = intact.solve(model, debate, "What is 17 + 5?", n=3, max_tokens=24, budget="tokens=144")
    print(f"{result.answer.answer}, by {dict(result.answer.votes)}; {result.cost.tokens} tokens, {result.why}")
