"""Measurements of this engine and of others: speed, cluster plans, conformance digests, audits."""
