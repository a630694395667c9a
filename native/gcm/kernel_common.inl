// What every kernel needs beside its vector type. Included inside an anonymous namespace: a kernel object exports its
// table and nothing else, so that the linker can never pick code compiled for one CPU where another runs.

#define ALWAYS_INLINE inline __attribute__((always_inline))
#if defined(__clang__)
#define UNROLL _Pragma("unroll")
// Each compiler takes the two in its own order.
#define ALWAYS_INLINE_LAMBDA __attribute__((always_inline)) noexcept
#else
#define UNROLL _Pragma("GCC unroll 16")
#define ALWAYS_INLINE_LAMBDA noexcept __attribute__((always_inline))
#endif

ALWAYS_INLINE void wipe(void* bytes, size_t length) noexcept {
  memset(bytes, 0, length);
  __asm__ __volatile__("" : : "r"(bytes) : "memory");
}
ALWAYS_INLINE uint32_t load_be32(const uint8_t* p) noexcept {
  uint32_t v;
  memcpy(&v, p, 4);
  return __builtin_bswap32(v);
}
ALWAYS_INLINE void store_be32(uint8_t* p, uint32_t v) noexcept {
  v = __builtin_bswap32(v);
  memcpy(p, &v, 4);
}
