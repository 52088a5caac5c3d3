"""Back ends that generate text: the native engine, and others behind the same protocol."""
