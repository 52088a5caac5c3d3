"""Reports: what runs state, side by side, in one file that needs nothing else."""
