// One block in an SSE register: X and its operations, for the x86 kernels.

using X = __m128i;
ALWAYS_INLINE X x_zero() noexcept { return _mm_setzero_si128(); }
ALWAYS_INLINE X x_load(const void* p) noexcept { return _mm_loadu_si128(static_cast<const __m128i*>(p)); }
ALWAYS_INLINE void x_store(void* p, X v) noexcept { _mm_storeu_si128(static_cast<__m128i*>(p), v); }
ALWAYS_INLINE X x_from_words(uint64_t high, uint64_t low) noexcept {
  return _mm_set_epi64x(static_cast<long long>(high), static_cast<long long>(low));
}
ALWAYS_INLINE X x_xor(X a, X b) noexcept { return _mm_xor_si128(a, b); }
// ~mask & a
ALWAYS_INLINE X x_and_not(X mask, X a) noexcept { return _mm_andnot_si128(mask, a); }
ALWAYS_INLINE X x_swap_halves(X a) noexcept { return _mm_shuffle_epi32(a, 0x4e); }
ALWAYS_INLINE X x_reverse_mask() noexcept { return _mm_set_epi8(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15); }
ALWAYS_INLINE X x_byte_swap(X a) noexcept { return _mm_shuffle_epi8(a, x_reverse_mask()); }
ALWAYS_INLINE X x_poly() noexcept { return _mm_set_epi64x(0, static_cast<long long>(0xC200000000000000)); }
ALWAYS_INLINE X x_clmul_low(X a, X b) noexcept { return _mm_clmulepi64_si128(a, b, 0x00); }
ALWAYS_INLINE X x_clmul_high(X a, X b) noexcept { return _mm_clmulepi64_si128(a, b, 0x11); }
ALWAYS_INLINE X x_clmul_lh(X a, X b) noexcept { return _mm_clmulepi64_si128(a, b, 0x10); }
ALWAYS_INLINE X x_clmul_hl(X a, X b) noexcept { return _mm_clmulepi64_si128(a, b, 0x01); }
ALWAYS_INLINE X x_aesenc(X a, X k) noexcept { return _mm_aesenc_si128(a, k); }
ALWAYS_INLINE X x_aesenclast(X a, X k) noexcept { return _mm_aesenclast_si128(a, k); }

// FIPS 197, 5.2, with the S-box of AESKEYGENASSIST.
ALWAYS_INLINE X mix_key(X key, X assist) noexcept {
  key = _mm_xor_si128(key, _mm_slli_si128(key, 4));
  key = _mm_xor_si128(key, _mm_slli_si128(key, 8));
  return _mm_xor_si128(key, assist);
}
template <int kRcon>
ALWAYS_INLINE void expand_pair(uint8_t* keys, size_t i, X& a, X& b) noexcept {
  a = mix_key(a, _mm_shuffle_epi32(_mm_aeskeygenassist_si128(b, kRcon), 0xff));
  x_store(keys + i * 16, a);
  if (i == 14) return;
  b = mix_key(b, _mm_shuffle_epi32(_mm_aeskeygenassist_si128(a, 0), 0xaa));
  x_store(keys + (i + 1) * 16, b);
}
inline void expand_round_keys(uint8_t* keys, const uint8_t raw[32]) noexcept {
  X a = x_load(raw);
  X b = x_load(raw + 16);
  x_store(keys, a);
  x_store(keys + 16, b);
  expand_pair<0x01>(keys, 2, a, b);
  expand_pair<0x02>(keys, 4, a, b);
  expand_pair<0x04>(keys, 6, a, b);
  expand_pair<0x08>(keys, 8, a, b);
  expand_pair<0x10>(keys, 10, a, b);
  expand_pair<0x20>(keys, 12, a, b);
  expand_pair<0x40>(keys, 14, a, b);
}
