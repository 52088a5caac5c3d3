"""Compare an endpoint with the exact model that it claims to serve: its deviations, and whether it is that model."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from statistics import median
from typing import TYPE_CHECKING, Any, NamedTuple

from intact._base.errors import LogError
from intact.measure.meter.client import MeterExchange
from intact.numerics.profiles import Profile

if TYPE_CHECKING:
    from intact.library import Model
    from intact.measure.audit.recompute import Scored


class ModelClaim(NamedTuple):
    """A comparison with a model.

    Attributes
    ----------
    model
        The model's name.
    tokens
        Number of tokens compared.
    greedy, equal
        Number of answers at temperature 0, and of those in which every token equals the exact model's.
    median_place
        Median index of the first different token in the others; None if there are no others.
    shift, largest_shift
        Mean and largest difference of log-probabilities, in nats; None if the endpoint lists none.
    verdict
        ``consistent``, ``suspicious``, or ``unjudged``.
    why
        Evidence for the verdict.
    """

    model: str
    tokens: int
    greedy: int
    equal: int
    median_place: float | None
    shift: float | None
    largest_shift: float | None
    verdict: str
    why: str


def compare_with(
    model: Model,
    name: str,
    exchanges: Sequence[MeterExchange],
    *,
    plain_sampling: bool = True,
    profile: Profile = "int8",
    engine: str = "",
    alpha: float = 0.01,
    progress: Callable[[int], None] = lambda tokens: None,
) -> ModelClaim:
    """Recompute the answers that an endpoint gave to requests sent alone, as `intact audit` recomputes a log.

    Parameters
    ----------
    model : Model
        The model that the endpoint claims to serve.
    plain_sampling : bool
        If false, the sampler may use settings that the requests do not state, so only temperature 0 is judged.
    profile : str
        The model's arithmetic profile.
    engine : str
        The engine's name, if known; its honest logs are used for comparison.
    alpha : float
        Probability of calling an honest endpoint suspicious.
    progress : callable
        Called with the number of tokens done.

    Raises
    ------
    LogError
        If the answers do not fit the model's tokenizer or context.
    NotInstalledError
        If SciPy is missing.
    """
    from intact.measure.audit.decision import judge, scipy_special
    from intact.measure.audit.log import entries_of
    from intact.measure.audit.recompute import read_all, score

    scipy_special()
    entries = [
        entry
        for number, exchange in enumerate(exchanges, 1)
        if any(answer.text for answer in exchange.answers)
        for entry in entries_of(_record(exchange, engine), f"answer {number}")
        if plain_sampling or not entry.settings.temperature
    ]
    scored = list(score(model, read_all(model, entries), progress=progress))
    try:
        report = judge(scored, profile, alpha=alpha)
        found, verdict = report.findings, str(report.verdict)
        why = "; ".join(f"{one.kind}: p = {one.p:.2g} against {one.against}" for one in found)
    except LogError as error:
        verdict, why = "unjudged", str(error)
    return ModelClaim(name, *_straying(scored), verdict=verdict, why=why)


def _straying(scored: Sequence[Scored]) -> tuple[int, int, int, float | None, float | None, float | None]:
    """Return tokens, greedy answers, equal ones, median position of differences, and mean and largest shift."""
    greedy = [one for one in scored if one.kind == "greedy"]
    places = [
        next((i for i, (token, drawn) in enumerate(pairs) if token.expected != drawn), None)
        for one in greedy
        if (pairs := list(zip(one.scores, one.response.output, strict=True)))
    ]
    different = [place for place in places if place is not None]
    shifts = [token.off for one in scored for token in one.scores if token.off is not None]
    return (
        sum(len(one.scores) for one in scored),
        len(greedy),
        len(places) - len(different),
        median(different) if different else None,
        sum(shifts) / len(shifts) if shifts else None,
        max(shifts, default=None),
    )


def _record(exchange: MeterExchange, engine: str) -> dict[str, Any]:
    """Return an exchange as an audit record: OpenAI's unchanged, others by their text."""
    request = exchange.request
    if isinstance(exchange.response, dict) and "choices" in exchange.response:
        return {"request": request, "response": exchange.response, "engine": engine}
    options = request.get("options", request)
    system = [{"role": "system", "content": request["system"]}] if request.get("system") else []
    return {
        "engine": engine,
        "messages": [*system, *request["messages"]],
        "text": exchange.answers[0].text,
        **{name: options[name] for name in ("temperature", "seed", "top_p", "top_k", "min_p") if name in options},
    }
