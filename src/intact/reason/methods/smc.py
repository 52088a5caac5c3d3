"""Sequential Monte Carlo with an evidence estimate."""

from __future__ import annotations

from intact.reason import Problem, Steps, method
from intact.reason.limits import Amount, ChanceScorer, Count, Delimiter, MostSteps
from intact.reason.parts.composing import composed, vote
from intact.reason.parts.particles import Potential, Trajectory, divisor, newest, next_step
from intact.reason.parts.stepwise import or_spent, until_spent
from intact.reason.populations.resampling import SchemeName
from intact.reason.populations.transformers import resample, sample, start, weigh


@composed("start (sample weigh resample?)* vote", "measure", "evidence")
@method("Lew et al. 2023, arXiv 2306.03081", group="particles", temperature=1.0)
def smc(
    problem: Problem,
    *,
    n: Count = 16,
    scorer: ChanceScorer = "likelihood",
    steps: MostSteps = 40,
    delimiter: Delimiter = "\n\n",
    potential: Potential = "ratio",
    least: Amount = 0.5,
    scheme: SchemeName = "systematic",
) -> Steps:
    """Extend n weighted sequences step by step, resample at low effective sample size, and estimate the evidence.

    Weights are multiplied over the steps; resampling sets each to their mean. The answer is the one with the most
    weight, and its share estimates its probability under the target.

    Parameters
    ----------
    n : int
        Number of particles.
    potential : str
        Target: ratio is p(text) r(text), with r the last reward; product is p(text) times the rewards of all its steps.
    least : float
        Share of n below which the effective sample size triggers resampling.
    scheme : str
        Resampling scheme: multinomial, stratified, systematic or residual.
    """
    texts, sizes = start(Trajectory.begin(problem.start), n), list[float]()
    with until_spent() as spent:
        for step in range(steps):
            active = texts.where(lambda text: text.unended)
            if not active:
                break
            texts = yield from sample(texts, next_step(scorer, delimiter))
            texts = weigh(texts, newest, over=divisor(potential), where=active)
            if not texts.mass:
                break
            sizes.append(texts.effective_size)
            if sizes[-1] < least * n:
                texts = resample(texts, problem.key("resample", step), scheme=scheme)
    return or_spent(vote(problem, texts, log_evidence=texts.log_mass, sizes=sizes), spent)
