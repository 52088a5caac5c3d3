"""The driver of methods: it collects their requests, serves many at a time, and records finished results."""
