"""One model in several processes with bit-identical results: tensor parallel, pipeline parallel, remote prefill."""
