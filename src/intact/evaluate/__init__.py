"""Evaluations: run methods on tasks, record manifests and result files, grade answers, write reports.

`plan` and `run` take an evaluation from tasks to results: `work` and `likelihood` answer and grade, `judging` reads
verdicts, `scores` computes scores, and `manifest`, `results`, `partial` and `files` read and write the recorded files.
`samples` reads completions from trees. `calibrated`, `predicted`, `difficulty`, `values` and `concepts` learn from
recorded runs; `sweep` searches settings, `report` writes reports, `cluster` and `on_cluster` use several machines, and
`harness` and `perplexity` are interfaces of their own.
"""
