"""The interface of operations, `Op`, and the interfaces of those who ask them: executors, plans, cuts, transforms."""
