"""Cassettes (docs/cassettes.md): record what a test suite asks an endpoint, and replay the answers without network.

`cassette` is the file, `content` and `streams` its bodies, `matching` says which requests are equal, and `redaction`
what is never written. `recorder` decides who answers a request; `proxy` and `upstream` carry it, `httpx_patch` sends it
there, and `running` starts them in a thread. `drift` sends a cassette's requests again.
"""
