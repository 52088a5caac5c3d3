"""Speed: the workloads that `intact bench` measures, and profiles of where their time goes."""
