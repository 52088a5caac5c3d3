"""Measure whether an endpoint's answers depend on what else it computes (`intact meter`).

`questions` makes the prompts and the requests around them, `conditions` are the situations in which prompts are asked,
and `plan` fits them into the limits (`spending`). `client` sends requests through one of the `apis`, `run` compares the
`answers`, and `journal` keeps the results. `summary` computes shares and bounds, `report` shows them, and `claim`
compares with the exact model.
"""
