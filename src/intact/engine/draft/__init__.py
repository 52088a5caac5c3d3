"""Drafting (speculative decoding): guesses that the model checks in one step; they change the time, never the text."""
