// ARMv8 AES and PMULL: one block a register.
#if defined(__aarch64__)
#include <arm_neon.h>

#include <cstring>

#include "kernel.h"

namespace frameseal::gcm {
namespace {

#include "kernel_common.inl"

using X = uint8x16_t;
ALWAYS_INLINE X x_zero() noexcept { return vdupq_n_u8(0); }
ALWAYS_INLINE X x_load(const void* p) noexcept { return vld1q_u8(static_cast<const uint8_t*>(p)); }
ALWAYS_INLINE void x_store(void* p, X v) noexcept { vst1q_u8(static_cast<uint8_t*>(p), v); }
ALWAYS_INLINE X x_from_words(uint64_t high, uint64_t low) noexcept {
  return vreinterpretq_u8_u64(vcombine_u64(vcreate_u64(low), vcreate_u64(high)));
}
ALWAYS_INLINE X x_xor(X a, X b) noexcept { return veorq_u8(a, b); }
// ~mask & a
ALWAYS_INLINE X x_and_not(X mask, X a) noexcept { return vbicq_u8(a, mask); }
ALWAYS_INLINE X x_swap_halves(X a) noexcept { return vextq_u8(a, a, 8); }
ALWAYS_INLINE X x_byte_swap(X a) noexcept { return x_swap_halves(vrev64q_u8(a)); }
ALWAYS_INLINE X x_poly() noexcept { return vreinterpretq_u8_u64(vcombine_u64(vcreate_u64(0xC200000000000000), vcreate_u64(0))); }
template <int kA, int kB>
ALWAYS_INLINE X x_clmul(X a, X b) noexcept {
  const poly128_t product = vmull_p64(static_cast<poly64_t>(vgetq_lane_u64(vreinterpretq_u64_u8(a), kA)),
                                      static_cast<poly64_t>(vgetq_lane_u64(vreinterpretq_u64_u8(b), kB)));
  return vreinterpretq_u8_p128(product);
}
ALWAYS_INLINE X x_clmul_low(X a, X b) noexcept { return x_clmul<0, 0>(a, b); }
ALWAYS_INLINE X x_clmul_high(X a, X b) noexcept { return x_clmul<1, 1>(a, b); }
ALWAYS_INLINE X x_clmul_lh(X a, X b) noexcept { return x_clmul<0, 1>(a, b); }
ALWAYS_INLINE X x_clmul_hl(X a, X b) noexcept { return x_clmul<1, 0>(a, b); }
// AESE adds the round key first, x86's AESENC last: a zero key and an XOR make them the same.
ALWAYS_INLINE X x_aesenc(X a, X k) noexcept { return veorq_u8(vaesmcq_u8(vaeseq_u8(a, x_zero())), k); }
ALWAYS_INLINE X x_aesenclast(X a, X k) noexcept { return veorq_u8(vaeseq_u8(a, x_zero()), k); }

// AESE of a word in all columns is SubBytes of it: ShiftRows moves bytes between equal columns.
ALWAYS_INLINE uint32_t sub_word(uint32_t word) noexcept {
  return vgetq_lane_u32(vreinterpretq_u32_u8(vaeseq_u8(vreinterpretq_u8_u32(vdupq_n_u32(word)), x_zero())), 0);
}
inline void expand_round_keys(uint8_t* keys, const uint8_t raw[32]) noexcept {
  uint32_t words[60];
  memcpy(words, raw, 32);
  uint32_t rcon = 1;
  for (size_t i = 8; i < 60; i++) {
    uint32_t word = words[i - 1];
    if (i % 8 == 0) {
      word = sub_word(word >> 8 | word << 24) ^ rcon;
      rcon <<= 1;
    } else if (i % 8 == 4) {
      word = sub_word(word);
    }
    words[i] = words[i - 8] ^ word;
  }
  memcpy(keys, words, sizeof words);
  wipe(words, sizeof words);
}

struct Neon {
  using T = X;
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
  static ALWAYS_INLINE T add32(T a, T b) noexcept {
    return vreinterpretq_u8_u32(vaddq_u32(vreinterpretq_u32_u8(a), vreinterpretq_u32_u8(b)));
  }
  static ALWAYS_INLINE T swap_halves(T a) noexcept { return x_swap_halves(a); }
  static ALWAYS_INLINE T unpack_low(T a, T b) noexcept {
    return vreinterpretq_u8_u64(vzip1q_u64(vreinterpretq_u64_u8(a), vreinterpretq_u64_u8(b)));
  }
  static ALWAYS_INLINE T unpack_high(T a, T b) noexcept {
    return vreinterpretq_u8_u64(vzip2q_u64(vreinterpretq_u64_u8(a), vreinterpretq_u64_u8(b)));
  }
  static ALWAYS_INLINE T byte_swap(T a) noexcept { return x_byte_swap(a); }
  static ALWAYS_INLINE T aesenc(T a, T k) noexcept { return x_aesenc(a, k); }
  static ALWAYS_INLINE T aesenclast(T a, T k) noexcept { return x_aesenclast(a, k); }
  template <int kParts>
  static ALWAYS_INLINE T clmul(T a, T b) noexcept {
    return x_clmul<(kParts & 1), (kParts >> 4)>(a, b);
  }
  static ALWAYS_INLINE T counters(X first) noexcept { return x_byte_swap(first); }
  static ALWAYS_INLINE T counter_step() noexcept {
    return vreinterpretq_u8_u32(vsetq_lane_u32(1, vdupq_n_u32(0), 0));
  }
  static ALWAYS_INLINE T counter_bytes(T counters) noexcept { return x_byte_swap(counters); }
};

#include "gcm_body.inl"

using Gcm = Body<Neon>;

bool supported(const CpuFeatures& cpu) noexcept { return cpu.aes && cpu.pmull; }

}  // namespace

extern const Kernel kArmv8 = {"armv8",      supported,   Gcm::expand_key, Gcm::start, Gcm::encrypt,
                              Gcm::decrypt, Gcm::finish, nullptr, Gcm::multiply, Gcm::flush, nullptr};

}  // namespace frameseal::gcm
#endif
