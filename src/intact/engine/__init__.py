"""The engine: a tree of cached pages, one scheduler, shared steps, draws, drafts."""
