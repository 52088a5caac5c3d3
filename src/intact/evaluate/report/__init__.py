"""Reports: the results of runs side by side, in one self-contained file."""
