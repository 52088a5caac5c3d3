"""Value heads: estimate from a model's own hidden state the probability that a completion ends in a right answer."""

from intact.tasks.score.value.head import ValueHead
from intact.tasks.score.value.labels import prefix_values
from intact.tasks.score.value.learning import Example, Learnt, learn
from intact.tasks.score.value.next_head import NextHead
from intact.tasks.score.value.next_learning import NextExample, NextLearnt, learn_next

__all__ = [
    "Example",
    "Learnt",
    "NextExample",
    "NextHead",
    "NextLearnt",
    "ValueHead",
    "learn",
    "learn_next",
    "prefix_values",
]
