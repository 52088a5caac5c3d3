"""Scorers, readers and judges of completions: answers, correctness of steps, certainty of the model, reward models.

`answers` reads an answer from a text, with `numbers`, `quantity`, `latex`, `latex_syntax`, `layout` and `symbolic`;
`equations`, `arithmetic`, `code` and `markers` judge derivations and programs; `scorers`, `rewards`, `value` and
`prompts` score completions; `judging` and `available` are shared.
"""
