"""Plans of clusters: what each machine would hold and compute of a model, and how fast, from measured costs."""
