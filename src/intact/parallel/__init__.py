"""Tensor parallel: one model in several processes, each with its rows of every matrix, and the same bits as in one."""
