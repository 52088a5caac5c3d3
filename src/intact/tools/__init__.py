"""Tools that a method may use besides the model: a sandbox for programs, retrieval, a calculator and provers."""
