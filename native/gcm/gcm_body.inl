// AES-256-GCM over a vector type, written once and included by each kernel inside its own anonymous namespace.
//
// CTR: vectors go through the AES rounds in groups. The multiplications for the group before are spread between the
// rounds, so that both run at once. In long texts the first two rounds are not computed for each block (Bernstein and
// Schwabe, New AES Software Speed Records, 2008; Park and Lee, FACE, TCHES 2018): the last counter byte reaches only
// column 0 in round 1, together with nonce bytes that do not change. So round 2 is a table of its 256 values XOR a base
// made once every 256 blocks. The first 256 blocks fill the table on their way; those after them read it, in the order of
// the counter, which is public; then it is wiped.
//
// What limits the bulk of a text, once ports are shared evenly, is how far ahead the core can look: each value that an
// instruction writes to a vector register shortens that. So powers of H are operands in memory, and sums are reduced
// before their lanes are folded.
//
// Nothing branches on, or is addressed by, key or text: only lengths and the public counter decide.
//
// V has: T (the vector), kBlocks in it, kVectors in a group, kKeepsRoundKeys (there are registers for all of them),
// kFoldsPairs (bringing halves of two vectors together is cheap), kHasMasks (load_part, store_part and keep_part for the
// first n bytes), and the operations used below.

#include "ghash.inl"

template <class V>
struct Body {
  using T = typename V::T;
  using P = Parts<V>;
  using H = Ghash<V>;
  using Products = typename H::Products;
  static constexpr size_t kVectors = V::kVectors;
  static constexpr size_t kVectorLength = V::kBlocks * 16;
  static constexpr size_t kGroupBlocks = kVectors * V::kBlocks;
  static constexpr size_t kGroupLength = kGroupBlocks * 16;
  static constexpr size_t kGroupsPerSum = kPowerCount / kGroupBlocks;

  static ALWAYS_INLINE X encrypt_block(const Key& key, X block) noexcept {
    X b = x_xor(block, x_load(key.round_keys));
    for (size_t r = 1; r < 14; r++) b = x_aesenc(b, x_load(key.round_keys + r * 16));
    return x_aesenclast(b, x_load(key.round_keys + 14 * 16));
  }

  static void expand_key(Key& key, const uint8_t raw[32]) noexcept {
    expand_round_keys(key.round_keys, raw);
    H::expand_powers(key, x_byte_swap(encrypt_block(key, x_zero())));
  }

  static void start(const Key& key, State& state, const uint8_t nonce[12], const uint8_t* aad,
                    size_t aad_length) noexcept {
    x_store(state.tag_mask, encrypt_block(key, counter_block(nonce, 1)));
    x_store(state.counter, counter_block(nonce, 2));
    x_store(state.ghash, H::hash_bytes(key, x_zero(), aad, aad_length));
    state.partial = 0;
    state.aad_length = aad_length;
    state.text_length = 0;
    state.context = nullptr;
  }

  // Put together in registers: what was written in pieces cannot be loaded at once without a stall.
  static ALWAYS_INLINE X counter_block(const uint8_t nonce[12], uint32_t counter) noexcept {
    uint64_t first;
    uint32_t second;
    memcpy(&first, nonce, 8);
    memcpy(&second, nonce + 8, 4);
    return x_from_words(uint64_t{__builtin_bswap32(counter)} << 32 | second, first);
  }

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

  // `length` is a multiple of 16, or the text ends here.
  template <Direction D>
  static void crypt_blocks(const Key& key, State& state, const uint8_t* in, size_t length, uint8_t* out) noexcept {
    Stream s;
    s.nonce = state.counter;
    s.next = load_be32(state.counter + 12);
    s.step = V::counter_step();
    set_counters(s);
    X acc = x_load(state.ghash);
    if (length >= kMinCachedLength) {
      alignas(64) uint8_t table[kTableLength];
      const size_t head = (0 - s.next) % kGroupBlocks * 16;  // up to where no group crosses a window
      if (head > 0) acc = crypt_tail<D>(key, s, in, head, out, acc, state);
      set_counters(s);
      s.table = table;
      const size_t whole = (length - head) / kGroupLength * kGroupLength;
      acc = crypt_groups<D, true>(key, s, in + head, whole / kGroupLength, out + head, acc);
      in += head + whole;
      out += head + whole;
      length -= head + whole;
      set_counters(s);
      wipe(table, sizeof table);
    } else if (length >= kGroupLength) {
      const size_t whole = length / kGroupLength * kGroupLength;
      acc = crypt_groups<D, false>(key, s, in, whole / kGroupLength, out, acc);
      in += whole;
      out += whole;
      length -= whole;
    }
    if (length > 0) acc = crypt_tail<D>(key, s, in, length, out, acc, state);
    x_store(state.ghash, acc);
    x_store(state.counter, counter_block(state.counter, s.next));
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

  // Less than a group. A whole group of keystream costs hardly more than one vector of it: rounds are latency-bound.
  template <Direction D>
  static X crypt_tail(const Key& key, Stream& s, const uint8_t* in, size_t length, uint8_t* out, X acc,
                      State& state) noexcept {
    if (length >= kGroupLength) __builtin_unreachable();
    T b[kVectors];
    const uint32_t first = s.next;
    begin_group<Start::plain>(key, s, b);
    s.next = first + static_cast<uint32_t>((length + 15) / 16);
    UNROLL for (size_t r = 1; r < 14; r++) {
      const T k = V::broadcast(key.round_keys + r * 16);
      UNROLL for (size_t i = 0; i < kVectors; i++) b[i] = V::aesenc(b[i], k);
    }
    const T last = V::broadcast(key.round_keys + 14 * 16);
    const size_t whole = length / 16 * 16;
    size_t offset = kPowerCount - whole / 16;
    typename H::Sum sum;
    H::clear(sum);
    T lanes = V::from_lane(acc);
    UNROLL for (size_t i = 0; i < kVectors; i++) {
      const size_t at = i * kVectorLength;
      if (at >= length) break;
      const T keystream = V::aesenclast(b[i], last);
      const T text = P::load_part(in + at, length - at);
      const T other = V::bit_xor(text, keystream);
      P::store_part(out + at, other, length - at);
      const T c = D == Direction::encrypt ? other : text;
      if (length - at < kVectorLength && length > whole) save_partial(state, c, keystream, length - at);
      // A block in progress is hashed when it is complete or the text ends.
      if (at >= whole) break;
      H::add_product(sum, V::bit_xor(lanes, V::byte_swap(P::keep_part(c, whole - at))), key, offset);
      lanes = V::zero();
      offset += V::kBlocks;
    }
    return whole == 0 ? acc : H::reduce(sum);
  }

  // Keeps the block in progress, the last of `length` bytes in a vector.
  static ALWAYS_INLINE void save_partial(State& state, T ciphertext, T keystream, size_t length) noexcept {
    alignas(64) uint8_t bytes[kVectorLength];
    V::store(bytes, ciphertext);
    memcpy(state.block, bytes + length / 16 * 16, 16);
    V::store(bytes, keystream);
    memcpy(state.keystream, bytes + length / 16 * 16, 16);
    wipe(bytes, sizeof bytes);
    state.partial = static_cast<uint32_t>(length % 16);
  }

  template <Direction D>
  static void update(const Key& key, State& state, const uint8_t* in, size_t length, uint8_t* out) noexcept {
    state.text_length += length;
    if (state.partial > 0) {
      while (length > 0 && state.partial < 16) {
        const uint8_t byte = *in++;
        const uint8_t other = byte ^ state.keystream[state.partial];
        state.block[state.partial++] = D == Direction::encrypt ? other : byte;
        *out++ = other;
        length--;
      }
      if (state.partial < 16) return;
      flush(key, state);
    }
    if (length > 0) crypt_blocks<D>(key, state, in, length, out);
  }

  static void encrypt(const Key& key, State& state, const uint8_t* in, size_t length, uint8_t* out) noexcept {
    update<Direction::encrypt>(key, state, in, length, out);
  }
  static void decrypt(const Key& key, State& state, const uint8_t* in, size_t length, uint8_t* out) noexcept {
    update<Direction::decrypt>(key, state, in, length, out);
  }

  static void flush(const Key& key, State& state) noexcept {
    if (state.partial == 0) return;
    x_store(state.ghash, H::multiply_blocks(x_xor(x_load(state.ghash), partial_block(state)), H::power(key, 1)));
    state.partial = 0;
  }

  // Padded, bytes reversed.
  static ALWAYS_INLINE X partial_block(const State& state) noexcept {
    alignas(16) uint8_t bytes[16] = {};
    memcpy(bytes, state.block, state.partial);
    return x_byte_swap(x_load(bytes));
  }

  static void finish(const Key& key, State& state, uint8_t tag[16]) noexcept {
    flush(key, state);
    const X lengths = x_from_words(state.aad_length * 8, state.text_length * 8);
    const X ghash = H::multiply_blocks(x_xor(x_load(state.ghash), lengths), H::power(key, 1));
    x_store(tag, x_xor(x_byte_swap(ghash), x_load(state.tag_mask)));
  }

  // By squaring: the exponent is public.
  static void multiply(const Key& key, uint8_t value[16], uint64_t blocks) noexcept {
    X acc = x_load(value);
    X square = H::power(key, 1);
    for (; blocks > 0; blocks >>= 1) {
      if (blocks & 1) acc = H::multiply_blocks(acc, square);
      square = H::multiply_blocks(square, square);
    }
    x_store(value, acc);
  }
};
