"""A first guess for a new task or model: settings ranked by gains on other tasks and models, and the guess's value.

The predicted gain of a setting is sum w g / (sum w + 1) over the records that tried it, with

  w = similarity n / (n + 80),    similarity = 2^-(|log4 size ratio|) 2^-(|difference of accuracies| / 0.2) k,

where n is its number of problems, and k is 1/2 if the answers are of a different kind; a factor is 1 if its input is
unknown on either side. The 1 shrinks the gain of a setting that few records tried towards the baseline, whose gain is
0. The constants come from a normal model in which gains differ by 5 points between settings and by another 5 between
records, and the two answers to a problem differ in one case out of five: 0.2 / 0.05^2 = 80.

The value of the rule is measured on the records themselves: each is left out once and guessed from the others.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple

from intact._base.errors import ParameterError
from intact._base.files import write_whole
from intact.evaluate.files import damaged, read_document
from intact.evaluate.results import typed
from intact.evaluate.scores import rounded
from intact.evaluate.sweep.recorded import read_trial
from intact.evaluate.sweep.records import RecordFeatures, SettingRecord
from intact.evaluate.sweep.space import SweepTrial
from intact.stats.paired import permutation

GUESS_FORMAT, GUESS_VERSION = "intact first guess", 1
NOISE: Final = 80
"""The number of problems at which the sampling error of a gain equals the variation between records."""
PRIOR: Final = 1.0
"""The weight of the baseline's gain, 0, in each prediction."""


class RankedSetting(NamedTuple):
    """A setting with its predicted gain, and the number of records that tried it."""

    trial: SweepTrial
    gain: float
    records: int


class GuessWorth(NamedTuple):
    """The value of guesses, measured on records: mean regrets, where each record is guessed from the others.

    The regret of a choice in a record is the largest gain there minus its own gain.

    Attributes
    ----------
    records : int
        The number of records that were left out, one at a time.
    guess, average, default : float
        Regret of the guess's best setting, of the setting with the best plain mean gain, and of the baseline.
    advantage : float
        The baseline's regret minus the guess's: the mean gain of the guessed settings.
    p : float
        The p-value for the null hypothesis that nothing transfers from record to record (`worth_of`).
    """

    records: int
    guess: float
    average: float
    default: float
    advantage: float
    p: float

    @property
    def helps(self) -> bool:
        """If true, the guess is significantly better than the baseline, at 5%."""
        return self.advantage > 0 and self.p <= 0.05


def similarity(one: RecordFeatures, other: RecordFeatures) -> float:
    """Return a record's weight for a task and model, in (0, 1]."""
    found = 1.0
    if one.size and other.size:
        found *= 2 ** -(abs(math.log2(one.size / other.size)) / 2)
    if one.accuracy is not None and other.accuracy is not None:
        found *= 2 ** -(abs(one.accuracy - other.accuracy) / 0.2)
    if one.answers and other.answers and one.answers != other.answers:
        found /= 2
    return found


def rank_settings(records: Sequence[SettingRecord], features: RecordFeatures) -> list[RankedSetting]:
    """Return the settings in records, from the best predicted gain to the worst; ties are ordered by key."""
    sums: dict[str, list[tuple[float, float]]] = {}
    trials: dict[str, SweepTrial] = {}
    for record in records:
        alike = similarity(record.features, features)
        for key, one in record.gains.items():
            trials.setdefault(key, one.trial)
            sums.setdefault(key, []).append((alike * one.problems / (one.problems + NOISE), one.gain))
    found = {
        key: RankedSetting(
            trials[key],
            rounded(math.fsum(w * g for w, g in own) / (math.fsum(w for w, _ in own) + PRIOR)),
            len(own),
        )
        for key, own in sums.items()
    }
    return [found[key] for key in sorted(found, key=lambda key: (-found[key].gain, key))]


def worth_of(records: Sequence[SettingRecord], *, accuracy: bool = False) -> GuessWorth | None:
    """Return the value of guesses, each record guessed from the others; None if there are fewer than three.

    Gains of left-out records are not independent of each other: a setting that is good in one record by chance is
    guessed for the others, so a t test on them would claim far too often that guesses help. The p-value is therefore
    computed on guesses from only the earlier records, in the order of names: if nothing transfers, the gain of such a
    guess is equally likely to have the opposite sign, regardless of what came before (Fisher's randomisation test,
    one-sided).

    Parameters
    ----------
    accuracy : bool
        If true, the baseline's accuracy is known when a guess is made.
    """
    if len(records) < 3:
        return None
    ordered = sorted(records, key=lambda record: record.name)
    others = [[*ordered[:place], *ordered[place + 1 :]] for place in range(len(ordered))]
    best = [max([0.0, *(one.gain for one in record.gains.values())]) for record in ordered]
    guessed = [_gain_of_guess(own, record, accuracy=accuracy) for own, record in zip(others, ordered, strict=True)]
    average = [_gain_of_average(own, record) for own, record in zip(others, ordered, strict=True)]
    later = [_gain_of_guess(ordered[:place], ordered[place], accuracy=accuracy) for place in range(1, len(ordered))]
    test = permutation(later, [0.0] * len(later))
    means = [math.fsum(own) / len(ordered) for own in (best, guessed, average)]
    figures = (means[0] - means[1], means[0] - means[2], means[0], means[1])
    guess, mean, default, advantage = map(rounded, figures)
    p = test.p / 2 if test.difference > 0 else 1 - test.p / 2
    return GuessWorth(len(ordered), guess, mean, default, advantage=advantage, p=rounded(p))


def _gain_of_guess(others: Sequence[SettingRecord], record: SettingRecord, *, accuracy: bool) -> float:
    """Return the gain in a record of the best setting guessed from other records; 0 if that is the baseline."""
    features = record.features if accuracy else record.features._replace(accuracy=None)
    ranked = (one for one in rank_settings(others, features) if one.trial.key in record.gains)
    first = next(ranked, None)
    return record.gains[first.trial.key].gain if first is not None and first.gain > 0 else 0.0


def _gain_of_average(others: Sequence[SettingRecord], record: SettingRecord) -> float:
    """Return the gain in a record of the setting with the best plain mean gain in other records.

    The baseline's mean is 0.
    """
    means = {
        key: math.fsum(gains) / len(gains)
        for key in sorted(record.gains)
        if (gains := [one.gains[key].gain for one in others if key in one.gains])
    }
    best = max(means, key=lambda key: means[key], default="")
    return record.gains[best].gain if best and means[best] > 0 else 0.0


def chosen_settings(ranked: Sequence[RankedSetting], most: int, task: str | None) -> list[RankedSetting]:
    """Return the settings of a guess: those with a positive predicted gain that the task supports."""
    return [one for one in ranked if one.gain > 0 and (task is None or _takes(one.trial, task))][:most]


def _takes(trial: SweepTrial, task: str) -> bool:
    try:
        trial.task(task)
    except ParameterError:
        return False
    return True


def guess_as_dict(
    settings: Sequence[RankedSetting],
    features: RecordFeatures,
    worth: GuessWorth | None,
    sources: Sequence[Path],
    **stated: Any,
) -> dict[str, Any]:
    """Return a guess as a JSON object; `stated` are further facts, such as the baseline."""
    return {
        "format": GUESS_FORMAT,
        "version": GUESS_VERSION,
        **stated,
        "features": features._asdict(),
        "sources": [
            {"file": str(path), "sha256": hashlib.sha256(path.read_bytes()).hexdigest()} for path in sorted(sources)
        ],
        "settings": [
            {"label": one.trial.label, **one.trial._asdict(), "gain": one.gain, "records": one.records}
            for one in settings
        ],
        "left_one_out": None if worth is None else worth._asdict(),
    }


def write_guess(path: Path, guess: Mapping[str, Any]) -> None:
    """Write a guess to a file."""
    write_whole(path, (json.dumps(guess, indent=1, allow_nan=False) + "\n").encode())


def read_guess(path: Path) -> list[SweepTrial]:
    """Return the settings of a guess, best first.

    Raises
    ------
    FormatError
        If the file is not a guess.
    ParameterError
        If it is missing, or names an unknown method or parameter.
    """
    value = read_document(path, GUESS_FORMAT, GUESS_VERSION, "a first guess written by `intact learn settings`")
    with damaged(path, ParameterError):
        return [read_trial(one) for one in typed(value, {"settings": (list,)})["settings"]]
