// Lines asked for before they are needed.

// Fetches a line into the cache of a level. Always inline: GCC 12 takes a function of nothing else for one without
// effects and drops its calls.
template <int LEVEL = 1> INTACT_INLINE inline void prefetch(const void* p) { __builtin_prefetch(p, 0, 4 - LEVEL); }
INTACT_INLINE inline void prefetch_to_write(void* p) { __builtin_prefetch(p, 1, 2); }
