"""Forward deduction: all consequences of rules up to a depth, with the provenance of each fact (Generative Logic)."""
