// Software prefetches.

// Prefetches a line into the given cache level. Always inline: GCC 12 considers a function that does nothing else free
// of effects and drops its calls.
template <int LEVEL = 1> INTACT_INLINE inline void prefetch(const void* p) { __builtin_prefetch(p, 0, 4 - LEVEL); }
INTACT_INLINE inline void prefetch_to_write(void* p) { __builtin_prefetch(p, 1, 2); }
