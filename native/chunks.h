// A JavaScript array of byte views as a list of chunks.
#pragma once
#include <vector>

#include "edge.h"
#include "frame_run.h"

namespace frameseal {

/**
 * The elements of an array argument. They are read before any address is asked for: reading an element may run
 * JavaScript, which may free what a view points to.
 */
class ChunkElements {
 public:
  ChunkElements(Arguments& args, size_t index) {
    uint32_t count = 0;
    if (!args.ok()) return;
    if (args.value(index) == nullptr || napi_get_array_length(args.env(), args.value(index), &count) != napi_ok) {
      args.fail("expected an array of chunks");
      return;
    }
    if (count > kMaxCount) {
      args.fail("too many chunks");
      return;
    }
    elements_.resize(count, nullptr);
    for (uint32_t i = 0; i < count; i++) {
      if (napi_get_element(args.env(), args.value(index), i, &elements_[i]) != napi_ok) elements_[i] = nullptr;
    }
  }
  /** The chunks, which must hold `length` bytes together; after an error `args.ok()` is false. */
  std::vector<Chunk> read(Arguments& args, size_t length) const {
    std::vector<Chunk> chunks;
    chunks.reserve(elements_.size());
    size_t total = 0;
    for (const napi_value element : elements_) {
      const Bytes view = args.bytes_of(element);
      if (!args.ok()) return chunks;
      if (view.length == 0) continue;
      total += view.length;
      chunks.push_back(Chunk{view.data, view.length});
    }
    if (total != length) args.fail_internally("internal error: chunks have another length than the run");
    return chunks;
  }

 private:
  /** Any array can say that it is 2^32 - 1 long. */
  static constexpr uint32_t kMaxCount = uint32_t{1} << 24;

  std::vector<napi_value> elements_;
};

/** Whether two pieces of memory share a byte. */
inline bool overlaps(const void* a, size_t a_length, const void* b, size_t b_length) noexcept {
  const uintptr_t x = reinterpret_cast<uintptr_t>(a);
  const uintptr_t y = reinterpret_cast<uintptr_t>(b);
  return a_length != 0 && b_length != 0 && x < y + b_length && y < x + a_length;
}

}  // namespace frameseal
