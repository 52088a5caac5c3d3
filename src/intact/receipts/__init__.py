"""Receipts: records of a model's answers that anyone with the weights can verify exactly (docs/spec/receipts.md).

`document`, `request`, `source`, `decoding`, `spreads`, `likeliest` and `model_digests` define the members of a receipt,
and `canonical` and `schema` its form. `identity` computes digests of models, `make` creates receipts, `verify` checks
them, `spot`, `layers`, `commitment` and `opening` check them in part, `signature` signs them, and `lock` records
everything that a result was made with.
"""
