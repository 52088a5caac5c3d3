"""A shared cache: concurrent workers that see each other's tokens as they are generated (docs/spec/shared_cache.md)."""
