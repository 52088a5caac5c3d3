"""Training receipts: their chain of steps, their document, and their verification by replay."""
