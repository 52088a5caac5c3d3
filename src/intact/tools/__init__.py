"""Tools that a method may use besides the model: the sandbox that runs programs, and retrieval."""
