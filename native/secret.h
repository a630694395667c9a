// Bytes that must not outlive their use.
#pragma once
#include <cstddef>
#include <cstdint>
#include <cstring>

namespace frameseal {

/** Overwrites `length` bytes with zeros in a way that no optimiser removes. */
inline void wipe(void* bytes, size_t length) noexcept {
  if (length == 0) return;
  std::memset(bytes, 0, length);
#if defined(__GNUC__) || defined(__clang__)
  __asm__ __volatile__("" : : "r"(bytes) : "memory");
#else
  volatile uint8_t* p = static_cast<volatile uint8_t*>(bytes);
  for (size_t i = 0; i < length; i++) p[i] = 0;
#endif
}

/** N secret bytes, wiped when they go out of scope; cannot be copied. */
template <size_t N>
class Secret {
 public:
  Secret() = default;
  Secret(const Secret&) = delete;
  Secret& operator=(const Secret&) = delete;
  ~Secret() { wipe(bytes_, N); }
  uint8_t* data() noexcept { return bytes_; }
  static constexpr size_t size() noexcept { return N; }

 private:
  uint8_t bytes_[N];
};

}  // namespace frameseal
