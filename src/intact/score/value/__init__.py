"""A value head: how likely a text is to end in a right answer, read from a model's own hidden state."""

from intact.score.value.head import ValueHead
from intact.score.value.learning import Example, Learnt, learn

__all__ = ["Example", "Learnt", "ValueHead", "learn"]
