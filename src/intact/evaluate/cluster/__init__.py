"""Machines of a Ray cluster: which ones may take part, models sent by digest, and workers that join and leave."""
