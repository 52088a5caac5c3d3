"""HTML output: templates that escape all text, abbreviated strings, and drawings of traces."""
