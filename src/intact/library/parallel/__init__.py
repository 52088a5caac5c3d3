"""One model in several processes with bit-identical results: tensor parallel, pipeline parallel, remote prefill.

`plan`, `cut` and `ranks` divide a model; `start`, `worker`, `shard`, `channel` and `session` run and connect the
processes; `executor`, `pipeline` and `prompts` are what the engine sees of them.
"""
