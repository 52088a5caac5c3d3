"""Machines of a Ray cluster: who may take part, models sent by digest, workers that come and go."""
