"""Drafting (speculative decoding): the model checks guessed tokens in one step: faster, with the same output."""
