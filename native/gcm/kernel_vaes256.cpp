// VAES and VPCLMULQDQ on 256-bit registers: two blocks each. AMD from Zen 3, Intel from Alder Lake and Ice Lake on.
#if defined(__x86_64__) || defined(_M_X64)
#include <immintrin.h>

#include <cstring>

#include "kernel.h"

namespace frameseal::gcm {
namespace {

#include "kernel_common.inl"
#include "x86_block.inl"

struct Ymm {
  using T = __m256i;
  static constexpr size_t kBlocks = 2, kVectors = 8;
  static constexpr bool kKeepsRoundKeys = false, kHasMasks = false, kFoldsPairs = true;
  static ALWAYS_INLINE T zero() noexcept { return _mm256_setzero_si256(); }
  static ALWAYS_INLINE T load(const void* p) noexcept { return _mm256_loadu_si256(static_cast<const T*>(p)); }
  static ALWAYS_INLINE void store(void* p, T v) noexcept { _mm256_storeu_si256(static_cast<T*>(p), v); }
  static ALWAYS_INLINE T broadcast(const void* p) noexcept { return _mm256_broadcastsi128_si256(x_load(p)); }
  static ALWAYS_INLINE T spread(X x) noexcept { return _mm256_broadcastsi128_si256(x); }
  static ALWAYS_INLINE T from_lane(X x) noexcept { return _mm256_inserti128_si256(zero(), x, 0); }
  static ALWAYS_INLINE X fold_lanes(T a) noexcept {
    return x_xor(_mm256_castsi256_si128(a), _mm256_extracti128_si256(a, 1));
  }
  static ALWAYS_INLINE T bit_xor(T a, T b) noexcept { return _mm256_xor_si256(a, b); }
  static ALWAYS_INLINE T bit_xor3(T a, T b, T c) noexcept { return bit_xor(a, bit_xor(b, c)); }
  static ALWAYS_INLINE T add32(T a, T b) noexcept { return _mm256_add_epi32(a, b); }
  static ALWAYS_INLINE T swap_halves(T a) noexcept { return _mm256_shuffle_epi32(a, 0x4e); }
  static ALWAYS_INLINE T unpack_low(T a, T b) noexcept { return _mm256_unpacklo_epi64(a, b); }
  static ALWAYS_INLINE T unpack_high(T a, T b) noexcept { return _mm256_unpackhi_epi64(a, b); }
  static ALWAYS_INLINE T byte_swap(T a) noexcept {
    return _mm256_shuffle_epi8(a, _mm256_broadcastsi128_si256(x_reverse_mask()));
  }
  static ALWAYS_INLINE T aesenc(T a, T k) noexcept { return _mm256_aesenc_epi128(a, k); }
  static ALWAYS_INLINE T aesenclast(T a, T k) noexcept { return _mm256_aesenclast_epi128(a, k); }
  template <int kParts>
  static ALWAYS_INLINE T clmul(T a, T b) noexcept {
    return _mm256_clmulepi64_epi128(a, b, kParts);
  }
  static ALWAYS_INLINE T counters(X first) noexcept {
    return add32(_mm256_broadcastsi128_si256(x_byte_swap(first)), _mm256_set_epi32(0, 0, 0, 1, 0, 0, 0, 0));
  }
  static ALWAYS_INLINE T counter_step() noexcept { return _mm256_set_epi32(0, 0, 0, 2, 0, 0, 0, 2); }
  static ALWAYS_INLINE T counter_bytes(T counters) noexcept { return byte_swap(counters); }
};

#include "gcm_body.inl"

using Gcm = Body<Ymm>;

bool supported(const CpuFeatures& cpu) noexcept { return cpu.aes && cpu.pclmulqdq && cpu.avx2 && cpu.vaes && cpu.vpclmulqdq; }

}  // namespace

extern const Kernel kVaes256 = {"vaes256",    supported,   Gcm::expand_key, Gcm::start, Gcm::encrypt,
                                Gcm::decrypt, Gcm::finish, nullptr, Gcm::multiply, Gcm::flush, nullptr};

}  // namespace frameseal::gcm
#endif
