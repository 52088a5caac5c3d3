"""Judges of texts: what they answer, whether their steps are right, how sure the model was, what other models say."""
