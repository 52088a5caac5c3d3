"""A shared cache: workers that write at once, and see each other's tokens as they come (docs/shared_cache.md)."""
