"""Statistics of samples as pure functions: coverage, intervals, tests, power, calibration and scaling laws.

`intervals`, `coverage`, `quantiles`, `variance` and `batches` estimate; `paired`, `pairs`, `equivalence`, `multiple`,
`association`, `judges` and `power` compare; `choosing_at_k`, `budget_split`, `mixtures` and `rules` describe methods;
`calibration`, `prediction` and `answer_sets` describe confidence; `laws` fits scaling laws, and `checks` validates
arguments.
"""

from intact.stats.choosing_at_k import best_at_k, majority_at_k
from intact.stats.coverage import g_pass_at_k, mean_g_pass_at_k, pass_at_k, pass_hat_k
from intact.stats.equivalence import tost
from intact.stats.intervals import Interval, bootstrap, clustered, wilson
from intact.stats.multiple import benjamini_hochberg, holm
from intact.stats.paired import mcnemar, paired_bootstrap, permutation
from intact.stats.power import (
    Discordance,
    mean_problems,
    paired_power,
    paired_problems,
    smallest_difference,
    unpaired_problems,
)
from intact.stats.prediction import predict_right
from intact.stats.variance import split, split_counts

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
    "predict_right",
    "smallest_difference",
    "split",
    "split_counts",
    "tost",
    "unpaired_problems",
    "wilson",
]
