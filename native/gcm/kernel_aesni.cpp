// AES-NI and PCLMULQDQ: one block a register. Every x86-64 since 2011.
#if defined(__x86_64__) || defined(_M_X64)
#include <immintrin.h>

#include <cstring>

#include "kernel.h"

namespace frameseal::gcm {
namespace {

#include "kernel_common.inl"
#include "x86_block.inl"

struct Xmm {
  using T = __m128i;
  static constexpr size_t kBlocks = 1, kVectors = 8;
  static constexpr bool kKeepsRoundKeys = false, kHasMasks = false, kFoldsPairs = false;
  static ALWAYS_INLINE T zero() noexcept { return x_zero(); }
  static ALWAYS_INLINE T load(const void* p) noexcept { return x_load(p); }
  static ALWAYS_INLINE void store(void* p, T v) noexcept { x_store(p, v); }
  static ALWAYS_INLINE T broadcast(const void* p) noexcept { return x_load(p); }
  static ALWAYS_INLINE T spread(X x) noexcept { return x; }
  static ALWAYS_INLINE T from_lane(X x) noexcept { return x; }
  static ALWAYS_INLINE X fold_lanes(T a) noexcept { return a; }
  static ALWAYS_INLINE T bit_xor(T a, T b) noexcept { return x_xor(a, b); }
  static ALWAYS_INLINE T bit_xor3(T a, T b, T c) noexcept { return bit_xor(a, bit_xor(b, c)); }
  static ALWAYS_INLINE T add32(T a, T b) noexcept { return _mm_add_epi32(a, b); }
  static ALWAYS_INLINE T swap_halves(T a) noexcept { return x_swap_halves(a); }
  static ALWAYS_INLINE T unpack_low(T a, T b) noexcept { return _mm_unpacklo_epi64(a, b); }
  static ALWAYS_INLINE T unpack_high(T a, T b) noexcept { return _mm_unpackhi_epi64(a, b); }
  static ALWAYS_INLINE T byte_swap(T a) noexcept { return x_byte_swap(a); }
  static ALWAYS_INLINE T aesenc(T a, T k) noexcept { return _mm_aesenc_si128(a, k); }
  static ALWAYS_INLINE T aesenclast(T a, T k) noexcept { return _mm_aesenclast_si128(a, k); }
  template <int kParts>
  static ALWAYS_INLINE T clmul(T a, T b) noexcept {
    return _mm_clmulepi64_si128(a, b, kParts);
  }
  static ALWAYS_INLINE T counters(X first) noexcept { return x_byte_swap(first); }
  static ALWAYS_INLINE T counter_step() noexcept { return _mm_set_epi32(0, 0, 0, 1); }
  static ALWAYS_INLINE T counter_bytes(T counters) noexcept { return x_byte_swap(counters); }
};

#include "gcm_body.inl"

using Gcm = Body<Xmm>;

bool supported(const CpuFeatures& cpu) noexcept { return cpu.aes && cpu.pclmulqdq && cpu.ssse3 && cpu.sse41; }

}  // namespace

extern const Kernel kAesni = {"aesni",        supported,   Gcm::expand_key, Gcm::start, Gcm::encrypt,
                              Gcm::decrypt,   Gcm::finish, nullptr, Gcm::multiply, Gcm::flush, nullptr};

}  // namespace frameseal::gcm
#endif
