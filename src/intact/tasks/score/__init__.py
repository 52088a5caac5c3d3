"""Scorers, readers and judges of completions: answers, step correctness, model certainty, reward models.

`answers` reads the answer from a completion, with `numbers`, `quantity`, `latex`, `latex_syntax`, `layout` and
`symbolic`; `equations`, `arithmetic`, `code` and `markers` judge derivations and programs; `scorers`, `rewards`,
`value` and `prompts` score completions; `judging` and `available` are shared.
"""
