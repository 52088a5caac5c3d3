"""The inference engine: KV cache, scheduler, batched steps, sampling and speculative decoding.

`model` is a loaded model with its engine, and `completion` and `request` turn parameters into requests. A step is
planned by `scheduler`, `queue` and `sequence` over the pages of `cache` and `page_store`, laid out by `layout`, run by
`engine`, observed by `observers` and delivered by `emitter`; `driver` and `streaming` share the engine between threads
and coroutines. `scoring`, `replay`, `embedding`, `encoding`, `reranking`, `hidden`, `head_job` and `reward_head` are
requests that generate nothing. `sampling`, `mixes`, `draft` (with `drafting`), `shared_cache` and `remote_prompts` are
described in their own files.
"""
