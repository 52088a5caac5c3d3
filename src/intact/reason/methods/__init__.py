"""One method a file; whatever is decorated with `intact.reason.method` here is found."""
