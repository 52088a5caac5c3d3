"""One model in several processes with bit-identical results: tensor parallelism, pipeline parallelism, remote prefill.

`plan`, `cut` and `ranks` divide a model; `start`, `worker`, `shard`, `channel` and `session` run and connect the
processes; `executor`, `pipeline` and `prompts` present them to the engine.
"""
