"""Cassettes (docs/cassettes.md): record what a test suite asks an endpoint, and replay the answers without network.

`cassette` is the file, `layout` its form, `entry`, `content` and `streams` what it has; `matching` says which
requests are equal, and `redaction` what is never written. `recorder` decides who answers; `proxy`, `upstream` and
`local` carry requests, `httpx_patch`, `aiohttp_patch` and `redirection` send them there, and `running` starts them in
a thread. `drift`, `comparing` and `drift_page` compare a cassette's answers with those of today.
"""
