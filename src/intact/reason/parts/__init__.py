"""Parts that methods share: prompts, judgements, steps, searches, compositions, proofs."""
