// The 512-bit kernel's algorithm on two 256-bit registers, so that it can be tested where there is no AVX-512: the same
// gcm_body.inl with four blocks a vector. The intrinsics of kernel_vaes512.cpp themselves are not covered by it.
#include <immintrin.h>

#include <cstring>

#include "gcm/kernel.h"

namespace frameseal::gcm {
namespace {

#include "gcm/kernel_common.inl"
#include "gcm/x86_block.inl"

struct Pair {
  struct T {
    __m256i a, b;
  };
  static constexpr size_t kBlocks = 4, kVectors = 4;
  static constexpr bool kKeepsRoundKeys = true, kHasMasks = true, kFoldsPairs = true;
  static __m256i twice(X x) { return _mm256_broadcastsi128_si256(x); }
  static T zero() { return {_mm256_setzero_si256(), _mm256_setzero_si256()}; }
  static T load(const void* p) {
    const auto* v = static_cast<const __m256i*>(p);
    return {_mm256_loadu_si256(v), _mm256_loadu_si256(v + 1)};
  }
  static void store(void* p, T v) {
    auto* to = static_cast<__m256i*>(p);
    _mm256_storeu_si256(to, v.a);
    _mm256_storeu_si256(to + 1, v.b);
  }
  static T broadcast(const void* p) { return {twice(x_load(p)), twice(x_load(p))}; }
  static T load_part(const void* p, size_t n) {
    uint8_t bytes[64] = {};
    memcpy(bytes, p, n);
    return load(bytes);
  }
  static void store_part(void* p, T v, size_t n) {
    uint8_t bytes[64];
    store(bytes, v);
    memcpy(p, bytes, n);
  }
  static T keep_part(T v, size_t n) {
    uint8_t bytes[64];
    store(bytes, v);
    return load_part(bytes, n);
  }
  static T spread(X x) { return {twice(x), twice(x)}; }
  static T from_lane(X x) { return {_mm256_inserti128_si256(_mm256_setzero_si256(), x, 0), _mm256_setzero_si256()}; }
  static X fold_lanes(T v) {
    const __m256i half = _mm256_xor_si256(v.a, v.b);
    return x_xor(_mm256_castsi256_si128(half), _mm256_extracti128_si256(half, 1));
  }
  static T bit_xor(T x, T y) { return {_mm256_xor_si256(x.a, y.a), _mm256_xor_si256(x.b, y.b)}; }
  static T bit_xor3(T x, T y, T z) { return bit_xor(x, bit_xor(y, z)); }
  static T add32(T x, T y) { return {_mm256_add_epi32(x.a, y.a), _mm256_add_epi32(x.b, y.b)}; }
  static T swap_halves(T v) { return {_mm256_shuffle_epi32(v.a, 0x4e), _mm256_shuffle_epi32(v.b, 0x4e)}; }
  static T unpack_low(T x, T y) { return {_mm256_unpacklo_epi64(x.a, y.a), _mm256_unpacklo_epi64(x.b, y.b)}; }
  static T unpack_high(T x, T y) { return {_mm256_unpackhi_epi64(x.a, y.a), _mm256_unpackhi_epi64(x.b, y.b)}; }
  static T byte_swap(T v) {
    const __m256i mask = twice(x_reverse_mask());
    return {_mm256_shuffle_epi8(v.a, mask), _mm256_shuffle_epi8(v.b, mask)};
  }
  static T aesenc(T v, T k) { return {_mm256_aesenc_epi128(v.a, k.a), _mm256_aesenc_epi128(v.b, k.b)}; }
  static T aesenclast(T v, T k) { return {_mm256_aesenclast_epi128(v.a, k.a), _mm256_aesenclast_epi128(v.b, k.b)}; }
  template <int kParts>
  static T clmul(T x, T y) {
    return {_mm256_clmulepi64_epi128(x.a, y.a, kParts), _mm256_clmulepi64_epi128(x.b, y.b, kParts)};
  }
  static T counters(X first) {
    const __m256i base = twice(x_byte_swap(first));
    return {_mm256_add_epi32(base, _mm256_set_epi32(0, 0, 0, 1, 0, 0, 0, 0)),
            _mm256_add_epi32(base, _mm256_set_epi32(0, 0, 0, 3, 0, 0, 0, 2))};
  }
  static T counter_step() {
    const __m256i step = _mm256_set_epi32(0, 0, 0, 4, 0, 0, 0, 4);
    return {step, step};
  }
  static T counter_bytes(T counters) { return byte_swap(counters); }
};

#include "gcm/gcm_body.inl"

using Gcm = Body<Pair>;

bool always(const CpuFeatures&) noexcept { return true; }

}  // namespace

extern const Kernel kVaes512Emulated = {"vaes512 (emulated on 256 bits)", always, Gcm::expand_key, Gcm::start,
                                        Gcm::encrypt, Gcm::decrypt, Gcm::finish, nullptr, Gcm::multiply, Gcm::flush,
                                        nullptr};

}  // namespace frameseal::gcm
