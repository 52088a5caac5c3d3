"""Building blocks shared by methods: prompts, judgements, steps, searches, compositions, proofs.

`prompting`, `comparing`, `revising` and `interpreting` prompt models; `stepwise`, `searching`, `particles`,
`next_tokens`, `forcing` and `likeliest` extend texts; `composing` and `choice` build methods from other methods;
`concepts`, `holes` and `proving` serve a few methods each.
"""
