"""Speed: the workloads that `intact bench` measures, and profiles of their time."""
