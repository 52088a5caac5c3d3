"""Receipts: records of a model's answers that anyone with the weights can verify exactly (docs/spec/receipts.md)."""
