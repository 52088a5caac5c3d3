"""Tools that a method may use besides the model: today the sandbox that runs programs."""
