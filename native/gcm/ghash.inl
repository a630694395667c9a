// GHASH over a vector type. Included by gcm_body.inl, which tells what V has.
//
// Blocks are byte-reversed on loading. H is kept multiplied by x, which makes up for the bit order of GCM, so that products
// need no shift (Gueron and Kounavis, Intel's carry-less multiplication white paper). Products of up to 64 blocks are
// summed before one reduction, which folds 64 bits at a time with 0xC2 << 56. Multiplications are Karatsuba: three instead
// of four, since each takes an issue slot from AES.

#include "vector_parts.inl"

template <class V>
struct Ghash {
  using T = typename V::T;
  using P = Parts<V>;
  static constexpr size_t kVectors = V::kVectors;
  static constexpr size_t kVectorLength = V::kBlocks * 16;

  // Sums of products, not reduced.
  struct Sum {
    T lo, hi, mi;
  };

  static ALWAYS_INLINE void clear(Sum& s) noexcept { s.lo = s.hi = s.mi = V::zero(); }
  static ALWAYS_INLINE T fold(T x) noexcept { return V::bit_xor(x, V::swap_halves(x)); }

  // s += x · powers, where `offset` counts powers from H^64 and each lane has the next one.
  static ALWAYS_INLINE void add_product(Sum& s, T x, const Key& key, size_t offset) noexcept {
    const T k = V::load(key.powers + offset * 16);
    s.lo = V::bit_xor(s.lo, V::template clmul<0x00>(x, k));
    s.hi = V::bit_xor(s.hi, V::template clmul<0x11>(x, k));
    s.mi = V::bit_xor(s.mi, V::template clmul<0x00>(fold(x), V::load(key.folded_powers + offset * 16)));
  }

  // The multiplications of a group, one a step, for mixing with AES. Products of two vectors are added at once where three
  // values can be.
  struct Products {
    Sum sum;
    T product, folded;
  };
  template <size_t kStep>
  static ALWAYS_INLINE void add_product_of_step(Products& p, const T* x, const Key& key, size_t offset) noexcept {
    // The first pair comes last: it may have to wait for the reduction before.
    constexpr size_t i = kVectors - 2 - kStep / 6 * 2 + kStep % 2;
    const uint8_t* const power = key.powers + (offset + i * V::kBlocks) * 16;
    const uint8_t* const folded_power = key.folded_powers + (offset + i * V::kBlocks) * 16;
    T product;
    if constexpr (kStep % 6 < 2) {
      product = V::template clmul<0x00>(x[i], V::load(power));
    } else if constexpr (kStep % 6 < 4) {
      product = V::template clmul<0x11>(x[i], V::load(power));
    } else if constexpr (!V::kFoldsPairs) {
      product = V::template clmul<0x00>(fold(x[i]), V::load(folded_power));
    } else if constexpr (kStep % 2 == 0) {
      p.folded = V::bit_xor(V::unpack_low(x[i], x[i + 1]), V::unpack_high(x[i], x[i + 1]));
      product = V::template clmul<0x00>(p.folded, V::load(folded_power));
    } else {
      product = V::template clmul<0x01>(p.folded, V::load(folded_power));
    }
    T& part = kStep % 6 < 2 ? p.sum.lo : kStep % 6 < 4 ? p.sum.hi : p.sum.mi;
    if constexpr (kStep % 2 == 0) {
      p.product = product;
    } else {
      part = V::bit_xor3(part, p.product, product);
    }
  }
  template <size_t kStep, size_t kEnd>
  static ALWAYS_INLINE void add_products(Products& p, const T* x, const Key& key, size_t offset) noexcept {
    if constexpr (kStep < kEnd) {
      add_product_of_step<kStep>(p, x, key, offset);
      add_products<kStep + 1, kEnd>(p, x, key, offset);
    }
  }

  // Lanes are reduced first and then folded, which takes fewer operations than folding three sums.
  static ALWAYS_INLINE X reduce(const Sum& s) noexcept {
    const T poly = V::spread(x_poly());
    T mi = V::bit_xor3(s.mi, s.lo, s.hi);
    mi = V::bit_xor3(mi, V::swap_halves(s.lo), V::template clmul<0x00>(s.lo, poly));
    return V::fold_lanes(V::bit_xor3(s.hi, V::swap_halves(mi), V::template clmul<0x00>(mi, poly)));
  }

  static ALWAYS_INLINE X reduce_parts(X lo, X mi, X hi) noexcept {
    const X poly = x_poly();
    mi = x_xor(mi, x_xor(x_swap_halves(lo), x_clmul_low(lo, poly)));
    return x_xor(hi, x_xor(x_swap_halves(mi), x_clmul_low(mi, poly)));
  }

  static ALWAYS_INLINE X multiply_blocks(X a, X b) noexcept {
    return reduce_parts(x_clmul_low(a, b), x_xor(x_clmul_lh(a, b), x_clmul_hl(a, b)), x_clmul_high(a, b));
  }

  static ALWAYS_INLINE X power(const Key& key, size_t exponent) noexcept {
    return x_load(key.powers + (kPowerCount - exponent) * 16);
  }

  // GHASH of 1 to 64 blocks after `acc`: the first `length` bytes, of which the last block is padded.
  static ALWAYS_INLINE X hash_blocks(const Key& key, X acc, const uint8_t* data, size_t length) noexcept {
    Sum sum;
    clear(sum);
    T first = V::from_lane(acc);
    size_t offset = kPowerCount - (length + 15) / 16;
    for (size_t at = 0; at < length; at += kVectorLength, offset += V::kBlocks) {
      add_product(sum, V::bit_xor(first, V::byte_swap(P::load_part(data + at, length - at))), key, offset);
      first = V::zero();
    }
    return reduce(sum);
  }

  static X hash_bytes(const Key& key, X acc, const uint8_t* data, size_t length) noexcept {
    constexpr size_t kWhole = kPowerCount * 16;
    for (; length > kWhole; data += kWhole, length -= kWhole) acc = hash_blocks(key, acc, data, kWhole);
    return length == 0 ? acc : hash_blocks(key, acc, data, length);
  }

  // Powers of H, which is E(K, 0) with its bytes reversed.
  static void expand_powers(Key& key, X first) noexcept {
    alignas(16) uint8_t h[16];
    x_store(h, first);
    uint64_t lo, hi;
    memcpy(&lo, h, 8);
    memcpy(&hi, h + 8, 8);
    const uint64_t carry = 0 - (hi >> 63);  // all ones or zero
    hi = (hi << 1 | lo >> 63) ^ (carry & 0xC200000000000000);
    lo = lo << 1 ^ (carry & 1);
    memcpy(h, &lo, 8);
    memcpy(h + 8, &hi, 8);
    const X h1 = x_load(h);
    const X h2 = multiply_blocks(h1, h1);
    const X h4 = multiply_blocks(h2, h2);
    // Four independent chains, since a multiplication takes long but many can be under way.
    X p[4] = {h1, h2, multiply_blocks(h2, h1), h4};
    for (size_t i = 0; i < kPowerCount; i += 4) {
      for (size_t j = 0; j < 4; j++) {
        const size_t at = (kPowerCount - 1 - i - j) * 16;
        x_store(key.powers + at, p[j]);
        x_store(key.folded_powers + at, x_xor(p[j], x_swap_halves(p[j])));
        if (i + 4 < kPowerCount) p[j] = multiply_blocks(p[j], h4);
      }
    }
    memset(key.powers + kPowerCount * 16, 0, 64);
    memset(key.folded_powers + kPowerCount * 16, 0, 64);
    wipe(h, sizeof h);
  }
};
