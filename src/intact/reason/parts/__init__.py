"""Building blocks shared by methods: prompts, judgements, steps, searches, compositions, proofs."""
