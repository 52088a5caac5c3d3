"""The interface of operations, `Op`, and the interfaces of its users: executors, plans, cuts and weight transforms."""
