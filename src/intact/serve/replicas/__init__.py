"""Replicas of the server's models on the machines of a Ray cluster, behind one server: `intact serve --ray`."""
