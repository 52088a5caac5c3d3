"""Tune for speed: find the fastest engine settings for a workload on this machine. They never affect the results.

Candidates come from Optuna's tree-structured Parzen estimator (Bergstra et al. 2011; Akiba et al. 2019, arXiv
1907.10902). Each is timed against the defaults in alternating runs, so that a slowdown of the machine affects both, and
only for as long as its interval requires. The best is timed again separately, because the luckiest of many candidates
looks best.
"""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from intact._base.errors import ParameterError
from intact._base.system import processors
from intact.engine.drafting import DRAFTERS, OFF, make_drafting
from intact.engine.engine import DEFAULT_CHUNK, DEFAULT_ROWS, Engine
from intact.library import Model, load
from intact.measure.bench.passage import Passage
from intact.measure.bench.tuned import Settings
from intact.stats.quantiles import student_quantile

if TYPE_CHECKING:
    from pathlib import Path

    import optuna

ROWS: Final = (64, 128, 256, 512, 1024, 2048)
CHUNKS: Final = (32, 64, 128, 256, 512, 1024)
LEVEL: Final = 0.95
FEWEST: Final = 3
"""Minimum number of runs before a candidate may be abandoned."""
TURNS, FINAL_TURNS = 7, 15
"""Maximum number of runs for a candidate, and for the final measurement of the best one."""
SEARCH_SHARE: Final = 0.75
"""Fraction of the time spent on candidates; the rest is for the best of them."""
CLOSE: Final = 0.01
"""Half-width at which a ratio's interval is narrow enough."""
clock = time.perf_counter


class TuneWorkload(NamedTuple):
    """The workload to tune for.

    Attributes
    ----------
    prompt, answer : int
        Tokens per prompt and per answer.
    samples : int
        Answers per prompt.
    clients : int
        Number of concurrent prompts.
    """

    prompt: int = 256
    answer: int = 64
    samples: int = 1
    clients: int = 1

    def check(self, context: int) -> None:
        """Raise ParameterError if a model with this context cannot run the workload."""
        if self.prompt + self.answer > context:
            raise ParameterError(
                f"a prompt of {self.prompt} tokens and an answer of {self.answer} tokens exceed the context of "
                f"{context}"
            )

    def run(self, model: Model, passage: Passage) -> float:
        """Run the workload once, on new prompts; return the answers' tokens per second."""
        prompts = [passage.piece(self.prompt) for _ in range(self.clients)]
        sampled = {"temperature": 1.0, "n": self.samples} if self.samples > 1 else {}
        start = clock()
        answers = model.generate(prompts, max_tokens=self.answer, ignore_eos=True, **sampled)  # type: ignore[arg-type]
        seconds = clock() - start
        return sum(len(one.tokens) for several in answers for one in several) / seconds


class Ratio(NamedTuple):
    """A speed ratio with its 95% interval and its number of runs."""

    value: float
    low: float
    high: float
    turns: int


@dataclass(frozen=True)
class TimedSettings:
    """One candidate, with its speed relative to the defaults."""

    settings: Settings
    ratio: Ratio


@dataclass(frozen=True)
class Tuning:
    """The outcome of tuning.

    Attributes
    ----------
    best : Settings
        The fastest candidate, with `ratio` from the final measurement; the defaults if none was faster.
    gained : bool
        If true, the interval of the best candidate's ratio lies above 1.
    """

    workload: TuneWorkload
    defaults: Settings
    trials: tuple[TimedSettings, ...]
    best: Settings
    ratio: Ratio
    seconds: float

    @property
    def gained(self) -> bool:
        """If true, the best settings are faster than the defaults, beyond chance."""
        return self.best != self.defaults and self.ratio.low > 1

    def to_record(self) -> dict[str, Any]:
        """Return the record stored with the settings: the workload they were found for, and their gain."""
        return {"workload": self.workload._asdict(), "ratio": self.ratio._asdict()}

    def to_document(self) -> dict[str, Any]:
        """Return the result as JSON values."""
        return {
            "workload": self.workload._asdict(),
            "defaults": asdict(self.defaults),
            "trials": [{"settings": asdict(t.settings), "ratio": t.ratio._asdict()} for t in self.trials],
            "best": asdict(self.best),
            "ratio": self.ratio._asdict(),
            "gained": self.gained,
            "seconds": self.seconds,
        }


def ratio_of(pairs: Sequence[tuple[float, float]]) -> Ratio:
    """Return the geometric mean ratio of paired rates (candidate, default), with Student's interval of logarithms."""
    logs = [math.log(candidate / default) for candidate, default in pairs]
    mean = statistics.fmean(logs)
    half = math.inf
    if len(logs) > 1:
        half = student_quantile((1 + LEVEL) / 2, len(logs) - 1) * statistics.stdev(logs) / math.sqrt(len(logs))
    return Ratio(math.exp(mean), math.exp(mean - half), math.exp(min(mean + half, 700.0)), len(logs))


def compare(
    candidate: Callable[[], float],
    default: Callable[[], float],
    most: int,
    stop: bool = True,
    until: float = math.inf,
) -> Ratio:
    """Time two alternatives in alternating runs, up to a maximum number.

    If `stop` is true, stop once the interval is narrow or lies below 1. After the time `until`, only as many runs are
    made as an interval needs.
    """
    pairs: list[tuple[float, float]] = []
    while len(pairs) < most:
        if len(pairs) % 2:
            second = default()
            pairs.append((candidate(), second))
        else:
            first = candidate()
            pairs.append((first, default()))
        found = ratio_of(pairs)
        if len(pairs) >= FEWEST and clock() > until:
            break
        if stop and len(pairs) >= FEWEST and (found.high < 1 or math.log(found.high / found.low) < 2 * CLOSE):
            break
    return ratio_of(pairs)


class _Bench:
    """Models with the candidates' settings: one copy of the weights for the default thread count, one for others."""

    def __init__(self, path: Path, workload: TuneWorkload, cache_bytes: int | None) -> None:
        self._path, self._workload, self._cache_bytes = path, workload, cache_bytes
        self._main = load(path, cache_bytes=cache_bytes)
        self._other: Model | None = None
        workload.check(self._main.context)
        if cache_bytes is None:
            pool = self._main.engine.pool
            self._cache_bytes = pool.most * pool.page_bytes
        self._passage = Passage(self._main.tokenizer)
        self.defaults = Settings(int(self._main.info()["threads"]), DEFAULT_ROWS, DEFAULT_CHUNK, "auto")

    def rate(self, settings: Settings) -> Callable[[], float]:
        """Return a function that runs the workload once with the given settings."""
        model = self._with(settings)
        self._workload.run(model, self._passage)  # warms up drafters and memory
        return lambda: self._workload.run(model, self._passage)

    def _with(self, settings: Settings) -> Model:
        base = self._main
        if settings.threads != self.defaults.threads:
            if self._other is None or self._other.info()["threads"] != settings.threads:
                if self._other is not None:
                    self._other.close()
                self._other = load(self._path, threads=settings.threads)
            base = self._other
        executor, program = base.executor, base.program
        drafting = make_drafting(settings.drafter, program.vocabulary, executor.trees)
        engine = Engine(
            executor,
            program.context,
            chunk=settings.chunk,
            rows=settings.rows,
            cache_bytes=self._cache_bytes,
            prefix_cache=False,  # engines share the executor's pages in turn
            drafting=drafting,
        )
        return Model(base.checkpoint, program, base.tokenizer, engine)

    def close(self) -> None:
        """Close the models."""
        for model in (self._main, self._other):
            if model is not None:
                model.close()


@contextmanager
def _opened(path: Path, workload: TuneWorkload, cache_bytes: int | None) -> Iterator[_Bench]:
    bench = _Bench(path, workload, cache_bytes)
    try:
        yield bench
    finally:
        bench.close()


def tune(
    path: Path,
    workload: TuneWorkload,
    *,
    trials: int = 24,
    seconds: float = math.inf,
    seed: int = 0,
    cache_bytes: int | None = None,
    report: Callable[[int, TimedSettings], None] = lambda *_: None,
) -> Tuning:
    """Search for the settings that run a workload fastest.

    Parameters
    ----------
    trials : int
        Maximum number of candidates.
    seconds : float
        Time budget. Three quarters are for candidates, the rest for the final measurement of the best one; a
        measurement that has begun still gets as many runs as an interval needs.
    seed : int
        Seed of the optimiser.
    report : callable
        Called with the number of each candidate and its outcome.

    Raises
    ------
    ParameterError
        If the workload does not fit the model.
    NotInstalledError
        If Optuna is missing; see `intact._base.packages.check_installed`.
    """
    import optuna

    began = clock()
    searched = began + SEARCH_SHARE * seconds
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    study = optuna.create_study(direction="maximize", sampler=optuna.samplers.TPESampler(seed=seed))
    known: dict[Settings, Ratio] = {}
    with _opened(path, workload, cache_bytes) as bench:
        defaults = bench.defaults
        study.enqueue_trial(asdict(defaults) | {"drafter": OFF})
        baseline = bench.rate(defaults)
        for number in range(trials):
            if clock() > searched:
                break
            proposal = study.ask()
            settings = _suggest(proposal, defaults)
            if settings not in known and settings != defaults:
                known[settings] = compare(bench.rate(settings), baseline, TURNS, until=searched)
                report(number, TimedSettings(settings, known[settings]))
            study.tell(proposal, known[settings].value if settings in known else 1.0)
        found = [TimedSettings(settings, ratio) for settings, ratio in known.items()]
        best = max(found, key=lambda trial: trial.ratio.value, default=None)
        chosen, ratio = defaults, Ratio(1.0, 1.0, 1.0, 0)
        if best is not None and best.ratio.value > 1:
            chosen = best.settings
            ratio = compare(bench.rate(chosen), baseline, FINAL_TURNS, stop=False, until=began + seconds)
    return Tuning(workload, defaults, tuple(found), chosen, ratio=ratio, seconds=clock() - began)


def _suggest(trial: optuna.Trial, defaults: Settings) -> Settings:
    """Return the candidate that the optimiser suggests."""
    threads = sorted({1, *(n for n in (2, 4, 8, 16, 32, 64) if n < processors()), processors(), defaults.threads})
    return Settings(
        trial.suggest_categorical("threads", threads),
        trial.suggest_categorical("rows", ROWS),
        trial.suggest_categorical("chunk", CHUNKS),
        trial.suggest_categorical("drafter", [OFF, *sorted(DRAFTERS.own)]),
    )
