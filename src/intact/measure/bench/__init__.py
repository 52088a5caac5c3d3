"""Speed: the workloads that `intact bench` measures, and a profile of where their time goes."""
