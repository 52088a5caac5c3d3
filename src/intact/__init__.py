"""Language-model reasoning whose answers are facts: the same weights, prompt and seed give the same bits."""

__version__ = "0.1.0"
