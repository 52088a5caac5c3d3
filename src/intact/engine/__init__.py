"""The inference engine: KV cache, scheduler, batched steps, sampling and speculative decoding."""
