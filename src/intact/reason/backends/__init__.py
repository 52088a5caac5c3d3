"""Back ends, which write texts: our engine, and others behind the same protocol."""
