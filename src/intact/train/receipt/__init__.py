"""Training receipts: their chain of steps, and their document."""
