// VAES and VPCLMULQDQ on 512-bit registers: four blocks each. Intel from Ice Lake, AMD from Zen 4 on.
#if defined(__x86_64__) || defined(_M_X64)
#include <immintrin.h>

#include <cstring>

#include "kernel.h"

namespace frameseal::gcm {
namespace {

#include "kernel_common.inl"
#include "x86_block.inl"

struct Zmm {
  using T = __m512i;
  static constexpr size_t kBlocks = 4, kVectors = 4;
  static constexpr bool kKeepsRoundKeys = true, kHasMasks = true, kFoldsPairs = true;
  static ALWAYS_INLINE T zero() noexcept { return _mm512_setzero_si512(); }
  static ALWAYS_INLINE T load(const void* p) noexcept { return _mm512_loadu_si512(p); }
  static ALWAYS_INLINE void store(void* p, T v) noexcept { _mm512_storeu_si512(p, v); }
  static ALWAYS_INLINE __mmask64 first(size_t n) noexcept { return _bzhi_u64(~0ull, static_cast<unsigned>(n)); }
  static ALWAYS_INLINE T load_part(const void* p, size_t n) noexcept { return _mm512_maskz_loadu_epi8(first(n), p); }
  static ALWAYS_INLINE void store_part(void* p, T v, size_t n) noexcept { _mm512_mask_storeu_epi8(p, first(n), v); }
  static ALWAYS_INLINE T keep_part(T v, size_t n) noexcept { return _mm512_maskz_mov_epi8(first(n), v); }
  static ALWAYS_INLINE T broadcast(const void* p) noexcept { return _mm512_broadcast_i32x4(x_load(p)); }
  static ALWAYS_INLINE T spread(X x) noexcept { return _mm512_broadcast_i32x4(x); }
  static ALWAYS_INLINE T from_lane(X x) noexcept { return _mm512_zextsi128_si512(x); }
  static ALWAYS_INLINE X fold_lanes(T a) noexcept {
    const __m256i half = _mm256_xor_si256(_mm512_castsi512_si256(a), _mm512_extracti64x4_epi64(a, 1));
    return x_xor(_mm256_castsi256_si128(half), _mm256_extracti128_si256(half, 1));
  }
  static ALWAYS_INLINE T bit_xor(T a, T b) noexcept { return _mm512_xor_si512(a, b); }
  static ALWAYS_INLINE T bit_xor3(T a, T b, T c) noexcept { return _mm512_ternarylogic_epi64(a, b, c, 0x96); }
  static ALWAYS_INLINE T add32(T a, T b) noexcept { return _mm512_add_epi32(a, b); }
  static ALWAYS_INLINE T swap_halves(T a) noexcept { return _mm512_shuffle_epi32(a, _MM_PERM_BADC); }
  static ALWAYS_INLINE T unpack_low(T a, T b) noexcept { return _mm512_unpacklo_epi64(a, b); }
  static ALWAYS_INLINE T unpack_high(T a, T b) noexcept { return _mm512_unpackhi_epi64(a, b); }
  static ALWAYS_INLINE T byte_swap(T a) noexcept {
    return _mm512_shuffle_epi8(a, _mm512_broadcast_i32x4(x_reverse_mask()));
  }
  static ALWAYS_INLINE T aesenc(T a, T k) noexcept { return _mm512_aesenc_epi128(a, k); }
  static ALWAYS_INLINE T aesenclast(T a, T k) noexcept { return _mm512_aesenclast_epi128(a, k); }
  template <int kParts>
  static ALWAYS_INLINE T clmul(T a, T b) noexcept {
    return _mm512_clmulepi64_epi128(a, b, kParts);
  }
  static ALWAYS_INLINE T counters(X first) noexcept {
    return add32(_mm512_broadcast_i32x4(x_byte_swap(first)),
                 _mm512_set_epi32(0, 0, 0, 3, 0, 0, 0, 2, 0, 0, 0, 1, 0, 0, 0, 0));
  }
  static ALWAYS_INLINE T counter_step() noexcept {
    return _mm512_set_epi32(0, 0, 0, 4, 0, 0, 0, 4, 0, 0, 0, 4, 0, 0, 0, 4);
  }
  static ALWAYS_INLINE T counter_bytes(T counters) noexcept { return byte_swap(counters); }
};

#include "gcm_body.inl"

using Gcm = Body<Zmm>;

bool supported(const CpuFeatures& cpu) noexcept {
  return cpu.aes && cpu.pclmulqdq && cpu.vaes && cpu.vpclmulqdq && cpu.avx512;
}

}  // namespace

extern const Kernel kVaes512 = {"vaes512",    supported,   Gcm::expand_key, Gcm::start, Gcm::encrypt,
                                Gcm::decrypt, Gcm::finish, nullptr, Gcm::multiply, Gcm::flush, nullptr, true};

}  // namespace frameseal::gcm
#endif
