"""HTML output: templates that escape every text, abbreviations of texts, and drawings of traces."""
