"""Cluster plans: the part of a model that each machine would store and compute, and its speed, from measured costs.

`machines` reads the description of machines, `measure` and `fit` give the costs of work on them, `ways` and `search`
list and choose plans, `step`, `stages`, `pipeline`, `repeats` and `work` predict the time of one, and `plan` is the
result.
"""
