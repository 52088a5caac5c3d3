"""Plug-ins for other tools, one file per tool: the tool is imported only in its file (docs/integrations.md).

`chat_source` asks a model in this process or a server; `chat_text`, `vectors`, `judging` and `receipt_file` are what
plug-ins share: answers, vectors and scores, verdicts, and files of receipts (`opening` opens a model once).
`inspect_log`, `inspect_sample`, `inspect_answers`, `inspect_request` and `chat_replay` read inspect_ai's logs.
"""
