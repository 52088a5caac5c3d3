"""The driver of methods: it collects their requests, serves many at once, and records finished results."""
