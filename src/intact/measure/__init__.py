"""Measurements of this engine and others: speed, cluster plans, conformance digests, audits."""
