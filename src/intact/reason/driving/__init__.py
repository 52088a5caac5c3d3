"""The driver of methods: it collects their requests, serves them many at a time, and keeps what was finished."""
