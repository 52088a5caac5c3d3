"""Machines of a Ray cluster: which ones may take part, models sent by digest, workers that come and go."""
