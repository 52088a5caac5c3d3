"""One model in several processes, to the same bits: cut by rows of every matrix or by layers, or prompts elsewhere."""
