"""Audit engines that are not exact: check a log against a model and its settings, or find where answers diverge.

`log`, `runs`, `openai`, `vllm` and `engines` read the logs of engines; `tokens`, `distribution`, `generators` and
`recompute` compute what the claimed model would do; `scores` and `decision` turn the differences into a verdict; `diff`
compares two runs.
"""
