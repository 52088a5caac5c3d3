"""Measurements of this engine, and of others: speed, plans of clusters, conformance by digest, audits."""
