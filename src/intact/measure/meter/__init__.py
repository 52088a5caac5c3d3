"""Measure whether an endpoint's answers depend on its other work (`intact meter`).

`questions` makes the prompts and the requests around them, `conditions` defines the situations in which prompts are
sent, and `plan` fits them into the limits (`spending`). `client` sends requests through one of the `apis`, `run`
compares the `answers`, and `journal` stores the results. `summary` computes shares and bounds, `report` presents them,
and `claim` compares the answers with the exact model.
"""
