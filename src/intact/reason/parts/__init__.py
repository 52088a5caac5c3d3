"""Building blocks shared by methods: prompts, judgements, steps, searches, compositions, proofs.

`prompting`, `comparing`, `revising` and `interpreting` ask models; `stepwise`, `searching`, `particles`, `next_tokens`,
`forcing` and `likeliest` extend texts; `composing` and `choice` build methods from others; `concepts`, `holes` and
`proving` serve a few methods each.
"""
