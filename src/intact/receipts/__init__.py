"""Receipts: records of a model's answers that anyone with the weights can verify exactly (docs/spec/receipts.md).

`document`, `request`, `source`, `decoding`, `spreads`, `likeliest` and `model_digests` are the members of a receipt,
`canonical` and `schema` its form. `identity` computes digests of models, `make` writes receipts, `verify` checks them,
`spot`, `layers`, `commitment` and `opening` check a part, `signature` signs, and `lock` records what a result was made
with.
"""
