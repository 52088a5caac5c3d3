"""The HTTP interfaces of the server."""
