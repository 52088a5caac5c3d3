"""The engine: pages of the KV cache, sequences, shared steps, draws."""
