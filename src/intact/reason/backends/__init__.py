"""What writes texts: our engine first, others behind the same protocol."""
