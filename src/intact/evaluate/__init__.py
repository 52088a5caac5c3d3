"""Measuring a model: scores with intervals, laws of scaling, perplexity, speed.

Importing this package is cheap; a public name brings its module in when it is first used.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from intact.evaluate.choosing_at_k import best_at_k, majority_at_k
    from intact.evaluate.coverage import g_pass_at_k, mean_g_pass_at_k, pass_at_k, pass_hat_k
    from intact.evaluate.equivalence import tost
    from intact.evaluate.intervals import Interval, bootstrap, clustered, wilson
    from intact.evaluate.multiple import benjamini_hochberg, holm
    from intact.evaluate.paired import mcnemar, paired_bootstrap, permutation
    from intact.evaluate.power import Discordance, mean_problems, paired_power, paired_problems, unpaired_problems
    from intact.evaluate.variance import split, split_counts

_HOMES = {
    "Discordance": "power",
    "Interval": "intervals",
    "benjamini_hochberg": "multiple",
    "best_at_k": "choosing_at_k",
    "bootstrap": "intervals",
    "clustered": "intervals",
    "g_pass_at_k": "coverage",
    "holm": "multiple",
    "majority_at_k": "choosing_at_k",
    "mcnemar": "paired",
    "mean_g_pass_at_k": "coverage",
    "mean_problems": "power",
    "paired_bootstrap": "paired",
    "paired_power": "power",
    "paired_problems": "power",
    "pass_at_k": "coverage",
    "pass_hat_k": "coverage",
    "permutation": "paired",
    "split": "variance",
    "split_counts": "variance",
    "tost": "equivalence",
    "unpaired_problems": "power",
    "wilson": "intervals",
}

__all__ = [
    "Discordance",
    "Interval",
    "benjamini_hochberg",
    "best_at_k",
    "bootstrap",
    "clustered",
    "g_pass_at_k",
    "holm",
    "majority_at_k",
    "mcnemar",
    "mean_g_pass_at_k",
    "mean_problems",
    "paired_bootstrap",
    "paired_power",
    "paired_problems",
    "pass_at_k",
    "pass_hat_k",
    "permutation",
    "split",
    "split_counts",
    "tost",
    "unpaired_problems",
    "wilson",
]


if not TYPE_CHECKING:  # type checkers shall know the names above, and no others

    def __getattr__(name: str) -> object:
        if name not in _HOMES:
            raise AttributeError(f"module 'intact.evaluate' has no attribute {name!r}")
        value = getattr(import_module(f"intact.evaluate.{_HOMES[name]}"), name)
        globals()[name] = value
        return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
