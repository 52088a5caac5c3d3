"""Receipts of whole runs of a method: every text and score behind an answer, and the vote (docs/receipts.md, Runs)."""
