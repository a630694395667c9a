// CTR over a vector type, a group of vectors at a time, mixed with GHASH. Included by gcm_body.inl, which tells what V has.
//
// Vectors go through the AES rounds in groups. The multiplications for the group before are spread between the
// rounds, so that both run at once. In long texts the first two rounds are not computed for each block (Bernstein and
// Schwabe, New AES Software Speed Records, 2008; Park and Lee, FACE, TCHES 2018): the last counter byte reaches only
// column 0 in round 1, together with nonce bytes that do not change. So round 2 is a table of its 256 values XOR a base
// made once every 256 blocks. The first 256 blocks fill the table on their way; those after them read it, in the order of
// the counter, which is public; then it is wiped.
//
// What limits the bulk of a text, once ports are shared evenly, is how far ahead the core can look: each value that an
// instruction writes to a vector register shortens that. So powers of H are operands in memory, and sums are reduced
// before their lanes are folded.

#include "ghash.inl"

template <class V>
struct Ctr {
  using T = typename V::T;
  using H = Ghash<V>;
  using Products = typename H::Products;
  static constexpr size_t kVectors = V::kVectors;
  static constexpr size_t kVectorLength = V::kBlocks * 16;
  static constexpr size_t kGroupBlocks = kVectors * V::kBlocks;
  static constexpr size_t kGroupLength = kGroupBlocks * 16;
  static constexpr size_t kGroupsPerSum = kPowerCount / kGroupBlocks;

  enum class Direction { encrypt, decrypt };

  // Where the keystream is: counters to come and, for long texts, the state after round 2.
  struct Stream {
    T counters, step;
    uint8_t* table;  // by last counter byte, for long texts
    T base;
    const uint8_t* nonce;
    uint32_t next;
  };

  static constexpr size_t kMinCachedLength = 16384;
  static constexpr size_t kTableLength = 256 * 16;

  static ALWAYS_INLINE X column0() noexcept { return x_from_words(0, 0xffffffff); }

  // The part of round 2 that does not depend on the last counter byte. Round 2 is linear but for SubBytes of each byte:
  // masked bytes turn into 0x63, which stays 0x63 through the rest of the round, so that both parts and one more 0x63 add
  // up to the whole.
  static ALWAYS_INLINE void set_base(const Key& key, Stream& s) noexcept {
    const X block = x_xor(counter_block(s.nonce, s.next & ~255u), x_load(key.round_keys));
    const X others = x_and_not(column0(), x_aesenc(block, x_load(key.round_keys + 16)));
    const X sixty_threes = x_from_words(0x6363636363636363, 0x6363636363636363);
    s.base = V::spread(x_xor(x_aesenc(others, x_load(key.round_keys + 32)), sixty_threes));
  }

  static ALWAYS_INLINE void set_counters(Stream& s) noexcept { s.counters = V::counters(counter_block(s.nonce, s.next)); }

  // Put together in registers: what was written in pieces cannot be loaded at once without a stall.
  static ALWAYS_INLINE X counter_block(const uint8_t nonce[12], uint32_t counter) noexcept {
    uint64_t first;
    uint32_t second;
    memcpy(&first, nonce, 8);
    memcpy(&second, nonce + 8, 4);
    return x_from_words(uint64_t{__builtin_bswap32(counter)} << 32 | second, first);
  }

  struct RoundKeys {
    T k[15];
  };
  static ALWAYS_INLINE T round_key(const Key& key, const RoundKeys& keys, size_t r) noexcept {
    if constexpr (V::kKeepsRoundKeys) {
      return keys.k[r];
    } else {
      return V::broadcast(key.round_keys + r * 16);
    }
  }

  // What of the first two rounds is done for a group: all; all, and the table is filled; nothing, the table is read.
  enum class Start { plain, filling, cached };

  // One group or more. Each is hashed while the next one goes through AES.
  template <Direction D, bool kCached>
  static ALWAYS_INLINE X crypt_groups(const Key& key, Stream& s, const uint8_t* in, size_t groups, uint8_t* out,
                                      X acc) noexcept {
    RoundKeys keys;
    if constexpr (V::kKeepsRoundKeys) {
      UNROLL for (size_t r = 0; r < 15; r++) keys.k[r] = V::broadcast(key.round_keys + r * 16);
    }
    Products p;
    T c[kVectors];  // ciphertext of the group before, bytes reversed
    if constexpr (kCached) {
      constexpr size_t kWindow = 256 / kGroupBlocks;
      const size_t filling = groups < kWindow ? groups : kWindow;
      set_base(key, s);
      crypt_group<D, false, Start::filling>(key, keys, s, in, out, c, p, 0);
      crypt_more_groups<D, Start::filling>(key, keys, s, in, filling - 1, out, c, p, acc);
      crypt_more_groups<D, Start::cached>(key, keys, s, in, groups - filling, out, c, p, acc);
    } else {
      crypt_group<D, false, Start::plain>(key, keys, s, in, out, c, p, 0);
      crypt_more_groups<D, Start::plain>(key, keys, s, in, groups - 1, out, c, p, acc);
    }
    H::clear(p.sum);
    c[0] = V::bit_xor(c[0], V::from_lane(acc));
    UNROLL for (size_t i = 0; i < kVectors; i++)
      H::add_product(p.sum, c[i], key, kPowerCount - kGroupBlocks + i * V::kBlocks);
    return H::reduce(p.sum);
  }

  // `in` and `out` stand at the group before, whose ciphertext is in `c`.
  template <Direction D, Start kStart>
  static ALWAYS_INLINE void crypt_more_groups(const Key& key, const RoundKeys& keys, Stream& s, const uint8_t*& in,
                                              size_t groups, uint8_t*& out, T* c, Products& p, X& acc) noexcept {
    while (groups > 0) {
      const size_t count = groups < kGroupsPerSum ? groups : kGroupsPerSum;
      groups -= count;
      H::clear(p.sum);
      c[0] = V::bit_xor(c[0], V::from_lane(acc));
      for (size_t offset = kPowerCount - count * kGroupBlocks; offset < kPowerCount; offset += kGroupBlocks) {
        in += kGroupLength;
        out += kGroupLength;
        if (kStart != Start::plain && s.next % 256 == 0) set_base(key, s);
        crypt_group<D, true, kStart>(key, keys, s, in, out, c, p, offset);
      }
      acc = H::reduce(p.sum);
    }
  }

  // The states of a group before round 1, or after round 2 when those are in the table or go there.
  template <Start kStart>
  static ALWAYS_INLINE void begin_group(const Key& key, Stream& s, T* b) noexcept {
    if constexpr (kStart != Start::cached) {
      const T k = V::broadcast(key.round_keys);
      UNROLL for (size_t i = 0; i < kVectors; i++) {
        b[i] = V::bit_xor(V::counter_bytes(s.counters), k);
        s.counters = V::add32(s.counters, s.step);
      }
    }
    if constexpr (kStart != Start::plain) {
      uint8_t* const row = s.table + s.next % 256 * 16;
      if constexpr (kStart == Start::filling) {
        const T k1 = V::broadcast(key.round_keys + 16);
        const T k2 = V::broadcast(key.round_keys + 32);
        UNROLL for (size_t i = 0; i < kVectors; i++) b[i] = V::aesenc(b[i], k1);
        UNROLL for (size_t i = 0; i < kVectors; i++) b[i] = V::aesenc(b[i], k2);
        UNROLL for (size_t i = 0; i < kVectors; i++) V::store(row + i * kVectorLength, V::bit_xor(s.base, b[i]));
      } else {
        UNROLL for (size_t i = 0; i < kVectors; i++) b[i] = V::bit_xor(s.base, V::load(row + i * kVectorLength));
      }
    }
    s.next += kGroupBlocks;
  }

  // Rounds from `kRound` on but the last, and with kHash the multiplications of `c` evenly among them: the multiplier is
  // busy nearly as long as the AES units are, and shares their ports. When encrypting they begin some rounds later, since
  // `c` has only just come out of the rounds itself.
  template <Direction D, bool kHash, size_t kFirst, size_t kRound = kFirst>
  static ALWAYS_INLINE void rounds(const Key& key, const RoundKeys& keys, T* b, const T* c, Products& p,
                                   size_t offset) noexcept {
    constexpr size_t kBegin = kFirst + (D == Direction::encrypt ? 3 : 0), kEnd = 14, kSteps = 3 * kVectors;
    constexpr size_t kFrom = kRound < kBegin ? 0 : (kRound - kBegin) * kSteps / (kEnd - kBegin);
    constexpr size_t kTo = kRound < kBegin ? 0 : (kRound + 1 - kBegin) * kSteps / (kEnd - kBegin);
    constexpr size_t kMiddle = (kFrom + kTo) / 2;
    const T k = round_key(key, keys, kRound);
    UNROLL for (size_t i = 0; i < kVectors / 2; i++) b[i] = V::aesenc(b[i], k);
    if constexpr (kHash) H::template add_products<kFrom, kMiddle>(p, c, key, offset);
    UNROLL for (size_t i = kVectors / 2; i < kVectors; i++) b[i] = V::aesenc(b[i], k);
    if constexpr (kHash) H::template add_products<kMiddle, kTo>(p, c, key, offset);
    if constexpr (kRound + 1 < kEnd) rounds<D, kHash, kFirst, kRound + 1>(key, keys, b, c, p, offset);
  }

  // Encrypts or decrypts a group; with kHash, hashes the ciphertext in `c` meanwhile. The new one replaces it there.
  template <Direction D, bool kHash, Start kStart>
  static ALWAYS_INLINE void crypt_group(const Key& key, const RoundKeys& keys, Stream& s, const uint8_t* in, uint8_t* out,
                                        T* c, Products& p, size_t offset) noexcept {
    T b[kVectors];
    begin_group<kStart>(key, s, b);
    rounds<D, kHash, kStart == Start::plain ? 1 : 3>(key, keys, b, c, p, offset);
    const T last = round_key(key, keys, 14);
    UNROLL for (size_t i = 0; i < kVectors; i++) {
      const T text = V::load(in + i * kVectorLength);
      // AESENCLAST ends with an XOR: give it the text too.
      b[i] = V::aesenclast(b[i], V::bit_xor(last, text));
      V::store(out + i * kVectorLength, b[i]);
      c[i] = V::byte_swap(D == Direction::encrypt ? b[i] : text);
    }
  }
};
