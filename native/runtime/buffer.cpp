// Buffers that share huge pages.
#include <mutex>

#include "runtime/weight.h"

namespace intact {

Buffer Buffer::packed(std::size_t size) {
    static system::Mutex mutex;
    static std::weak_ptr<Buffer> current;
    static std::size_t used = 0;
#if defined(__wasm__)
    constexpr std::size_t kChunk = 8 * kHuge - 4096;  // zig's C library takes the next power of two, with its own part
#else
    constexpr std::size_t kChunk = 8 * kHuge;
#endif
    const std::size_t room = (size + kLine - 1) / kLine * kLine;
    if (size == 0 || size >= kHuge) return Buffer(size);
    const std::lock_guard lock(mutex);
    std::shared_ptr<Buffer> chunk = current.lock();
    if (!chunk || used + room > kChunk) {
        current = chunk = std::make_shared<Buffer>(kChunk);
        used = 0;
    }
    Buffer part;
    part.data_ = chunk->data_ + used;
    part.size_ = size;
    part.chunk_ = std::move(chunk);
    used += room;
    return part;
}

}  // namespace intact
