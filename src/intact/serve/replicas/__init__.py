"""Replicas of the server's models on the machines of a Ray cluster, behind a single server: `intact serve --ray`."""
