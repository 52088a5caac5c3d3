"""The interface of operations, `Op`, and the interfaces of its users: executors, planning, splitting, transforms."""
