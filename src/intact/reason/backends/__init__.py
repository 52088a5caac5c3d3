"""Back ends that write texts: the native engine, and others behind the same protocol."""
