"""Turn scores into a verdict: the probability, from known honest logs, that one of this length scores as high.

Margins are mostly 0 and otherwise arbitrarily large, neighbouring tokens are correlated, and the honest logs used for
comparison are finite too. A log's sum of scores, in units of the index of dispersion between honest responses, is
therefore treated as a count, and two counts are compared like Poisson counts. Surprises do not need an honest log: mean
and variance follow from the claim itself.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, lru_cache
from importlib.resources import files
from typing import Any, Literal

import numpy as np

from intact._base.errors import LogError, NotInstalledError
from intact._base.packages import install
from intact.measure.audit.engines import family
from intact.measure.audit.recompute import Scored
from intact.measure.audit.scores import Kind
from intact.numerics.profiles import Profile

ALPHA = 0.01
BLOCK = 16
"""Number of tokens over which scores are averaged, and the minimum number for a judgement."""
SHIFT = 0.02
"""Standard deviation, in nats, of the shift of honest tokens' mean surprise caused by an engine's own noise."""
EXCESS = 1.3
"""Ratio of the variance of honest surprises to the claim's, because neighbouring tokens are correlated
(docs/spec/audit.md)."""
LEAST_CLIP: Mapping[Kind, float] = {"greedy": 0.5, "gumbel": 0.5, "inverse": 0.1, "logprobs": 0.5}
"""Lower limits on clips; a clip is the 99.9th percentile of honest scores, but an exact engine's scores are all 0."""

Verdict = Literal["consistent", "suspicious"]


@dataclass(frozen=True)
class Honest:
    """The scores of honest logs of an engine.

    Attributes
    ----------
    engine, model, profile, kind
        The engine and model that wrote the logs, and how they were scored.
    clip
        Upper limit applied to scores.
    blocks
        For each response, the means of its clipped scores over `BLOCK` tokens each.
    """

    engine: str
    model: str
    profile: str
    kind: Kind
    clip: float
    blocks: tuple[tuple[float, ...], ...]

    @property
    def mean(self) -> float:
        """The mean over all blocks."""
        return float(np.mean(np.concatenate(self.blocks)))

    def tail(self, score: float, tokens: int) -> float:
        """Return the probability that an honest log of `tokens` tokens has a mean score of at least `score`.

        Raises
        ------
        IntactError
            If SciPy is not installed.
        """
        total, known, unit = _counted(self.blocks, self.clip)
        if score <= 0:
            return 1.0
        return float(scipy_special().betainc(score * tokens / unit, total / unit + 1, tokens / (tokens + known)))


@lru_cache(maxsize=64)
def _counted(blocks: tuple[tuple[float, ...], ...], clip: float) -> tuple[float, int, float]:
    """Return the sum of honest scores, their number of tokens, and the unit that turns the sum into a count.

    The unit is the variance of the responses' sums divided by the sum, using the upper 95% limit of that variance. One
    token at the clip is added, so that an engine that never differed is allowed to differ once.
    """
    sums = BLOCK * np.array([sum(several) for several in blocks])
    lengths = BLOCK * np.array([len(several) for several in blocks])
    total, tokens, freedom = float(sums.sum()), int(lengths.sum()), max(1, len(blocks) - 1)
    squares = float(np.square(sums - total / tokens * lengths).sum())
    variance = squares * len(blocks) / float(scipy_special().chdtri(freedom, 0.95))
    return total, tokens, (variance + clip * clip) / (total + clip)


def scipy_special() -> Any:
    """Return `scipy.special`; raise IntactError if SciPy is missing."""
    try:
        from scipy import special
    except ImportError:
        raise NotInstalledError(f"an audit needs SciPy: {install('scipy')}") from None
    return special


def in_blocks(scores: Iterable[float], clip: float) -> tuple[float, ...]:
    """Return the means of clipped scores over whole blocks."""
    clipped = np.minimum(np.array(list(scores)), clip)
    whole = len(clipped) // BLOCK
    return tuple(round(float(mean), 6) for mean in clipped[: whole * BLOCK].reshape(whole, BLOCK).mean(axis=1))


def honest_from(scored: Sequence[Scored], kind: Kind, engine: str, model: str, profile: str) -> Honest:
    """Summarise honest responses for comparison.

    Raises
    ------
    LogError
        If no response of this kind has a block of tokens.
    """
    texts = list(values_of(scored, kind))
    flat = np.array([value for text in texts for value in text])
    finite = flat[np.isfinite(flat)]
    clip = max(LEAST_CLIP[kind], float(np.quantile(finite, 0.999)) if len(finite) else 0.0)
    blocks = tuple(several for text in texts if (several := in_blocks(text, clip)))
    if not blocks:
        raise LogError(f"the honest log has no response of {BLOCK} tokens to compare with ({kind})")
    return Honest(engine, model, profile, kind, clip=round(clip, 6), blocks=blocks)


def values_of(scored: Iterable[Scored], kind: Kind) -> Iterable[list[float]]:
    """Return the scores of one kind, response by response."""
    for one in scored:
        if kind == "logprobs":
            offsets = [] if one.response.entry.logprobs is None else [token.off for token in one.scores]
            if offsets or one.prompt_off:
                yield [*one.prompt_off, *(math.inf if off is None else off for off in offsets)]
        elif kind == "likelihood" and one.kind != "greedy":
            yield [token.surprise for token in one.scores if token.surprise is not None]
        elif one.kind == kind:
            yield [token.score for token in one.scores if token.score is not None]


@cache
def measured() -> tuple[Honest, ...]:
    """Return the honest logs measured by benchmarks/audit.py."""
    text = files("intact.measure.audit").joinpath("honest.json").read_text("utf-8")
    return tuple(
        Honest(**{**entry, "blocks": tuple(map(tuple, entry["blocks"]))}) for entry in json.loads(text)["honest"]
    )


def comparable(kind: Kind, engine: str, profile: Profile) -> tuple[Honest, ...]:
    """Return the measurements of an engine, or of any engine if there are none: under the profile, or else under int8.

    The int8 profile is noisier than the others.
    """
    some = [honest for honest in measured() if honest.kind == kind and honest.profile in (profile, "int8")]
    own = [honest for honest in some if honest.engine == family(engine)]
    return tuple([honest for honest in own if honest.profile == profile] or own or some)


@dataclass(frozen=True)
class AuditFinding:
    """One kind of evidence in a log.

    Attributes
    ----------
    score
        Mean of the tokens' clipped scores, or mean surprise.
    honest
        Mean score of honest logs, or 0, the mean of honest surprises.
    p
        Probability that an honest log scores this high (for surprises: this far from 0).
    matches
        Share of tokens equal to the expected one, or None if no draw is known.
    against
        A description of the comparison's basis.
    """

    kind: Kind
    responses: int
    tokens: int
    score: float
    honest: float
    p: float
    matches: float | None
    against: str


@dataclass(frozen=True)
class Unjudged:
    """A kind of evidence in a log that did not contribute to the verdict, with the reason."""

    kind: Kind
    tokens: int
    why: str


@dataclass(frozen=True)
class AuditReport:
    """The findings about a log's origin.

    Attributes
    ----------
    unjudged
        Evidence that did not contribute to the verdict.
    alpha
        Probability of calling an honest log suspicious, over all findings.
    """

    findings: tuple[AuditFinding, ...]
    alpha: float
    unjudged: tuple[Unjudged, ...] = ()

    def suspicious(self, finding: AuditFinding) -> bool:
        """Return true if a single finding makes the log suspicious (Bonferroni)."""
        return finding.p < self.alpha / len(self.findings)

    @property
    def verdict(self) -> Verdict:
        """``suspicious`` if any finding is, else ``consistent``."""
        return "suspicious" if any(map(self.suspicious, self.findings)) else "consistent"


def judge(
    scored: Sequence[Scored], profile: Profile, honest: Sequence[Honest] | None = None, alpha: float = ALPHA
) -> AuditReport:
    """Judge a log.

    Parameters
    ----------
    honest
        Honest logs to compare with; for kinds of evidence that they lack, measured ones are used. If several apply, the
        most lenient one decides.

    Raises
    ------
    LogError
        If there are too few tokens, or nothing to compare with.
    """
    kinds: list[Kind] = ["greedy", "gumbel", "inverse", "likelihood", "logprobs"]
    engines = {one.response.entry.engine for one in scored}
    findings: list[AuditFinding] = []
    unjudged: list[Unjudged] = []
    for kind in kinds:
        texts = [text for text in values_of(scored, kind) if text]
        count = sum(map(len, texts))
        if count < BLOCK:
            if count:
                unjudged.append(Unjudged(kind, count, f"fewer than {BLOCK} tokens"))
            continue
        if kind == "likelihood":
            findings.append(_surprise(scored, len(texts), count))
            continue
        others = [one for one in honest or () if one.kind == kind] or [
            one for engine in sorted(engines) for one in comparable(kind, engine, profile)
        ]
        if others:
            findings.append(_compare(scored, kind, texts, others))
        else:
            unjudged.append(Unjudged(kind, count, "no honest log that has it to compare with (--honest)"))
    if not findings:
        short = sum(one.tokens for one in unjudged if one.tokens < BLOCK)
        raise LogError(
            f"too little to judge: only {short} tokens of a kind, but at least {BLOCK} are needed"
            if short
            else "there is nothing to compare with: give a log that is known to be honest (--honest)"
        )
    return AuditReport(tuple(findings), alpha, tuple(unjudged))


def _compare(
    scored: Sequence[Scored], kind: Kind, texts: Sequence[Sequence[float]], others: Sequence[Honest]
) -> AuditFinding:
    flat = np.array([value for text in texts for value in text])
    tried = []
    for one in others:
        score = float(np.minimum(flat, one.clip).mean())
        tried.append((one.tail(score, len(flat)), score, one))
    p, score, kindest = max(tried, key=lambda entry: entry[0])
    against = f"honest {kindest.engine or 'log'}, {kindest.model}"
    return AuditFinding(
        kind, len(texts), len(flat), score, honest=kindest.mean, p=p, matches=_matches(scored, kind), against=against
    )


def _surprise(scored: Sequence[Scored], responses: int, count: int) -> AuditFinding:
    tokens = [token for one in scored for token in one.scores]
    total = sum(token.surprise or 0.0 for token in tokens)
    p = surprise_tail(total, sum(token.variance or 0.0 for token in tokens), count)
    return AuditFinding(
        "likelihood",
        responses,
        count,
        total / count,
        honest=0.0,
        p=p,
        matches=None,
        against="the claimed distribution itself",
    )


def surprise_tail(total: float, variance: float, tokens: int) -> float:
    """Return the probability that an honest log's surprises have a sum this far from 0."""
    spread = EXCESS * variance + (SHIFT * tokens) ** 2
    return math.erfc(abs(total) / math.sqrt(2 * spread))


def _matches(scored: Sequence[Scored], kind: Kind) -> float | None:
    hits = [
        token.expected == drawn
        for one in scored
        if one.kind == kind
        for token, drawn in zip(one.scores, one.response.output, strict=True)
    ]
    return sum(hits) / len(hits) if hits else None
