"""The base of all other packages: errors, files, processes, operating systems; nothing here depends on models.

`files`, `memory`, `process` and `system` wrap the operating system; `errors`, `suggest`, `strict_json` and
`event_stream` deal with hostile input; `exact` provides sums whose result does not depend on the order; `lazy`,
`moved`, `packages` and `plugins` find modules, old names, missing extras and plugins from other packages; `markup`
generates HTML.
"""
