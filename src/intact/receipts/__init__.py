"""Receipts: what a model answered, in a form that anyone with the weights can check exactly (docs/receipts.md)."""
