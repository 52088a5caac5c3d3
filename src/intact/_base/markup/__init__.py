"""HTML that this package writes: templates that escape every text, short forms of texts, the drawing of a trace."""
