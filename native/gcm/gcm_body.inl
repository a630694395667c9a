// AES-256-GCM over a vector type, written once and included by each kernel inside its own anonymous namespace.
//
// GHASH: blocks are byte-reversed on loading. H is kept multiplied by x, which makes up for the bit order of GCM, so that
// products need no shift (Gueron and Kounavis, Intel's carry-less multiplication white paper). Products of up to 64
// blocks are summed before one reduction, which folds 64 bits at a time with 0xC2 << 56. Multiplications are Karatsuba:
// three instead of four, since each takes an issue slot from AES.
//
// CTR: the multiplications of one batch are spread between the AES rounds of another, so that both run at once. In long
// texts the first two rounds are not computed for each block (Bernstein and Schwabe, New AES Software Speed Records, 2008;
// Park and Lee, FACE, TCHES 2018): the last counter byte reaches only column 0 in round 1, together with nonce bytes that
// do not change. So round 2 is a table of its 256 values, made once a message, XOR a base made once every 256 blocks. The
// table is read in the order of the counter, which is public, and wiped.
//
// Nothing branches on, or is addressed by, key or text: only lengths and the public counter decide.
//
// V has: T (the vector), kBlocks, and the operations used below.

inline constexpr size_t kVectors = 8;
template <class V>
struct Body {
  using T = typename V::T;
  static constexpr size_t kVectorLength = V::kBlocks * 16;
  static constexpr size_t kBatchBlocks = kVectors * V::kBlocks;
  static constexpr size_t kBatchLength = kBatchBlocks * 16;
  static constexpr size_t kGroup = kPowerCount / kBatchBlocks;  // batches per reduction

  // Sums of products, not reduced.
  struct Sum {
    T lo, hi, mi;
  };

  static ALWAYS_INLINE void clear(Sum& s) noexcept { s.lo = s.hi = s.mi = V::zero(); }

  // s += x · power, where `offset` counts powers from H^64.
  static ALWAYS_INLINE void add_product(Sum& s, T x, const Key& key, size_t offset) noexcept {
    const T k = V::load(key.powers + offset * 16);
    const T f = V::load(key.folded_powers + offset * 16);
    s.lo = V::bit_xor(s.lo, V::template clmul<0x00>(x, k));
    s.hi = V::bit_xor(s.hi, V::template clmul<0x11>(x, k));
    s.mi = V::bit_xor(s.mi, V::template clmul<0x00>(V::bit_xor(x, V::swap_halves(x)), f));
  }

  // The same in three steps, one multiplication each.
  template <int kStep>
  static ALWAYS_INLINE void add_partial_product(Sum& s, T x, const Key& key, size_t offset) noexcept {
    if constexpr (kStep == 0) {
      s.lo = V::bit_xor(s.lo, V::template clmul<0x00>(x, V::load(key.powers + offset * 16)));
    } else if constexpr (kStep == 1) {
      s.hi = V::bit_xor(s.hi, V::template clmul<0x11>(x, V::load(key.powers + offset * 16)));
    } else {
      const T folded = V::bit_xor(x, V::swap_halves(x));
      s.mi = V::bit_xor(s.mi, V::template clmul<0x00>(folded, V::load(key.folded_powers + offset * 16)));
    }
  }

  // Multiplications of a batch that belong into AES round `round` (the first of `kRounds` is 1): spread evenly, because the multiplier is
  // busy nearly as long as the AES units are. `load` gives the i-th vector of the batch, bytes reversed.
  template <size_t kRounds, typename Load>
  static ALWAYS_INLINE void add_products_of_round(size_t round, Sum& s, T& x, Load load, const Key& key,
                                                  size_t offset) noexcept {
    constexpr size_t kSteps = 3 * kVectors;
    UNROLL for (size_t step = (round - 1) * kSteps / kRounds; step < round * kSteps / kRounds; step++) {
      const size_t i = step / 3;
      const size_t at = offset + i * V::kBlocks;
      if (step % 3 == 0) {
        x = load(i);
        add_partial_product<0>(s, x, key, at);
      } else if (step % 3 == 1) {
        add_partial_product<1>(s, x, key, at);
      } else {
        add_partial_product<2>(s, x, key, at);
      }
    }
  }

  static ALWAYS_INLINE X reduce(const Sum& s) noexcept {
    X lo = V::fold_lanes(s.lo);
    X hi = V::fold_lanes(s.hi);
    X mi = V::fold_lanes(s.mi);
    mi = x_xor(mi, x_xor(lo, hi));
    return reduce_parts(lo, mi, hi);
  }

  static ALWAYS_INLINE X reduce_parts(X lo, X mi, X hi) noexcept {
    const X poly = x_poly();
    mi = x_xor(mi, x_xor(x_swap_halves(lo), x_clmul_low(lo, poly)));
    return x_xor(hi, x_xor(x_swap_halves(mi), x_clmul_low(mi, poly)));
  }

  static ALWAYS_INLINE X multiply_blocks(X a, X b) noexcept {
    return reduce_parts(x_clmul_low(a, b), x_xor(x_clmul_lh(a, b), x_clmul_hl(a, b)), x_clmul_high(a, b));
  }

  // acc · H^n + blocks, for 1 to 64 blocks at `data`, which is readable up to a whole vector.
  static ALWAYS_INLINE X hash_blocks(const Key& key, X acc, const uint8_t* data, size_t blocks) noexcept {
    Sum sum;
    clear(sum);
    const size_t offset = kPowerCount - blocks;
    for (size_t i = 0; i < blocks; i += V::kBlocks) {
      T x = V::byte_swap(V::load(data + i * 16));
      if (i == 0) x = V::bit_xor(x, V::from_lane(acc));
      add_product(sum, x, key, offset + i);
    }
    return reduce(sum);
  }

  static X hash_bytes(const Key& key, X acc, const uint8_t* data, size_t length) noexcept {
    constexpr size_t kWhole = kPowerCount * 16;
    for (; length >= kWhole; data += kWhole, length -= kWhole) acc = hash_blocks(key, acc, data, kPowerCount);
    if (length == 0) return acc;
    alignas(64) uint8_t rest[kWhole + 64];
    const size_t padded = (length + 63) / 64 * 64;
    memset(rest + padded - 64, 0, 64);
    memcpy(rest, data, length);
    return hash_blocks(key, acc, rest, (length + 15) / 16);
  }

  static ALWAYS_INLINE X encrypt_block(const Key& key, X block) noexcept {
    X b = x_xor(block, x_load(key.round_keys));
    for (size_t r = 1; r < 14; r++) b = x_aesenc(b, x_load(key.round_keys + r * 16));
    return x_aesenclast(b, x_load(key.round_keys + 14 * 16));
  }

  static void expand_key(Key& key, const uint8_t raw[32]) noexcept {
    expand_round_keys(key.round_keys, raw);
    uint8_t h[16];
    x_store(h, x_byte_swap(encrypt_block(key, x_zero())));
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

  static void start(const Key& key, State& state, const uint8_t nonce[12], const uint8_t* aad,
                    size_t aad_length) noexcept {
    memcpy(state.counter, nonce, 12);
    store_be32(state.counter + 12, 1);
    x_store(state.tag_mask, encrypt_block(key, x_load(state.counter)));
    store_be32(state.counter + 12, 2);
    x_store(state.ghash, hash_bytes(key, x_zero(), aad, aad_length));
    state.partial = 0;
    state.aad_length = aad_length;
    state.text_length = 0;
    state.context = nullptr;
  }

  enum class Direction { encrypt, decrypt };

  // Where the keystream is: counters to come and, for long texts, the state after round 2.
  struct Stream {
    T counters, step;
    const uint8_t* table;  // by last counter byte; null when rounds are not cached
    T base;
    uint32_t next;
    uint8_t block[16];
  };

  static constexpr size_t kMinCachedLength = 16384;
  static constexpr size_t kTableLength = 256 * 16;

  static ALWAYS_INLINE X column0() noexcept {
    alignas(16) static constexpr uint8_t mask[16] = {255, 255, 255, 255};
    return x_load(mask);
  }

  // State after round 1 of the block with this counter.
  static ALWAYS_INLINE X after_round1(const Key& key, const uint8_t block[16], uint32_t counter) noexcept {
    uint8_t bytes[16];
    memcpy(bytes, block, 12);
    store_be32(bytes + 12, counter);
    return x_aesenc(x_xor(x_load(bytes), x_load(key.round_keys)), x_load(key.round_keys + 16));
  }

  // Round 2 is linear but for SubBytes of each byte: masked bytes turn into 0x63, which stays 0x63 through the rest of the
  // round, so that both parts and one more 0x63 add up to the whole.
  static void make_table(const Key& key, const uint8_t block[16], uint8_t* table) noexcept {
    alignas(64) uint8_t first[16], mask[16];
    memcpy(first, block, 12);
    memset(first + 12, 0, 4);
    x_store(mask, column0());
    T counters = V::counters(x_load(first));
    const T step = V::counter_step();
    const T k0 = V::broadcast(key.round_keys);
    const T k1 = V::broadcast(key.round_keys + 16);
    const T columns = V::broadcast(mask);
    for (size_t at = 0; at < kTableLength; at += kVectorLength) {
      const T round1 = V::aesenc(V::bit_xor(V::counter_bytes(counters), k0), k1);
      V::store(table + at, V::aesenc(V::bit_and(round1, columns), V::zero()));
      counters = V::add32(counters, step);
    }
  }

  static ALWAYS_INLINE void set_base(const Key& key, Stream& s) noexcept {
    alignas(16) uint8_t bytes[16], sixty_three[16];
    memset(sixty_three, 0x63, 16);
    const X others = x_and_not(column0(), after_round1(key, s.block, s.next & ~255u));
    x_store(bytes, x_xor(x_aesenc(others, x_load(key.round_keys + 32)), x_load(sixty_three)));
    s.base = V::broadcast(bytes);
  }

  // `length` is a multiple of 16, or the text ends here.
  template <Direction D>
  static void crypt_blocks(const Key& key, State& state, const uint8_t* in, size_t length, uint8_t* out) noexcept {
    alignas(64) uint8_t text[kBatchLength];  // ciphertext of the batch to hash
    Stream s;
    memcpy(s.block, state.counter, 16);
    s.next = load_be32(state.counter + 12);
    s.step = V::counter_step();
    s.counters = V::counters(x_load(s.block));
    s.table = nullptr;
    X acc = x_load(state.ghash);
    if (length >= kMinCachedLength) {
      alignas(64) uint8_t table[kTableLength];
      const size_t head = (0 - s.next) % kBatchBlocks * 16;  // up to where no batch crosses a window
      if (head > 0) acc = crypt_tail<D>(key, s, in, head, out, text, acc, state);
      in += head;
      out += head;
      length -= head;
      make_table(key, s.block, table);
      s.table = table;
      const size_t whole = length / kBatchLength * kBatchLength;
      acc = crypt_batches<D, true>(key, s, in, whole / kBatchLength, out, text, acc);
      in += whole;
      out += whole;
      length -= whole;
      s.counters = V::counters(x_load(set_counter(s)));
      wipe(table, sizeof table);
    } else if (length >= kBatchLength) {
      const size_t whole = length / kBatchLength * kBatchLength;
      acc = crypt_batches<D, false>(key, s, in, whole / kBatchLength, out, text, acc);
      in += whole;
      out += whole;
      length -= whole;
    }
    if (length > 0) acc = crypt_tail<D>(key, s, in, length, out, text, acc, state);
    x_store(state.ghash, acc);
    store_be32(state.counter + 12, s.next);
    wipe(text, sizeof text);
  }

  static ALWAYS_INLINE const uint8_t* set_counter(Stream& s) noexcept {
    store_be32(s.block + 12, s.next);
    return s.block;
  }

  template <Direction D, bool kCached>
  static ALWAYS_INLINE X crypt_batches(const Key& key, Stream& s, const uint8_t* in, size_t batches, uint8_t* out,
                                       uint8_t* text, X acc) noexcept {
    Sum sum;
    clear(sum);
    size_t group = batches < kGroup ? batches : kGroup;  // batches hashed before the next reduction
    size_t in_group = 0;
    if constexpr (D == Direction::encrypt) {
      // Batch i is hashed while batch i + 1 is encrypted.
      if (kCached) set_base(key, s);
      encrypt_batch<false, kCached>(key, s, in, out, text, sum, 0);
      for (size_t left = batches - 1; left > 0; left--) {
        in += kBatchLength;
        out += kBatchLength;
        const size_t offset = kPowerCount - (group - in_group) * kBatchBlocks;
        if (in_group == 0) xor_into_first(text, acc);
        if (kCached && s.next % 256 == 0) set_base(key, s);
        encrypt_batch<true, kCached>(key, s, in, out, text, sum, offset);
        if (++in_group == group) {
          acc = reduce(sum);
          clear(sum);
          group = left < kGroup ? left : kGroup;
          in_group = 0;
        }
      }
      const size_t offset = kPowerCount - (group - in_group) * kBatchBlocks;
      if (in_group == 0) xor_into_first(text, acc);
      for (size_t i = 0; i < kVectors; i++)
        add_product(sum, V::byte_swap(V::load(text + i * kVectorLength)), key, offset + i * V::kBlocks);
      return reduce(sum);
    } else {
      if (kCached) set_base(key, s);
      for (size_t left = batches; left > 0; left--) {
        const size_t offset = kPowerCount - (group - in_group) * kBatchBlocks;
        if (kCached && s.next % 256 == 0) set_base(key, s);
        decrypt_batch<kCached>(key, s, in, out, text, sum, in_group == 0 ? acc : x_zero(), offset);
        in += kBatchLength;
        out += kBatchLength;
        if (++in_group == group) {
          acc = reduce(sum);
          clear(sum);
          group = left - 1 < kGroup ? left - 1 : kGroup;
          in_group = 0;
        }
      }
      return acc;
    }
  }

  static ALWAYS_INLINE void xor_into_first(uint8_t* text, X acc) noexcept {
    x_store(text, x_xor(x_load(text), x_byte_swap(acc)));
  }

  // The states of a batch before round 1, or after round 2 when those are cached.
  template <bool kCached>
  static ALWAYS_INLINE void begin_batch(const Key& key, Stream& s, T* b) noexcept {
    if constexpr (kCached) {
      const uint8_t* row = s.table + s.next % 256 * 16;
      UNROLL for (size_t i = 0; i < kVectors; i++) b[i] = V::bit_xor(s.base, V::load(row + i * kVectorLength));
    } else {
      const T k = V::broadcast(key.round_keys);
      UNROLL for (size_t i = 0; i < kVectors; i++) {
        b[i] = V::bit_xor(V::counter_bytes(s.counters), k);
        s.counters = V::add32(s.counters, s.step);
      }
    }
    s.next += kBatchBlocks;
  }

  // Encrypts a batch; with kHash, hashes the one in `text` meanwhile. The new ciphertext replaces it there.
  template <bool kHash, bool kCached>
  static ALWAYS_INLINE void encrypt_batch(const Key& key, Stream& s, const uint8_t* in, uint8_t* out, uint8_t* text,
                                          Sum& sum, size_t offset) noexcept {
    constexpr size_t kFirst = kCached ? 3 : 1;
    T b[kVectors], x{};
    begin_batch<kCached>(key, s, b);
    UNROLL for (size_t r = kFirst; r < 14; r++) {
      const T k = V::broadcast(key.round_keys + r * 16);
      UNROLL for (size_t i = 0; i < kVectors; i++) b[i] = V::aesenc(b[i], k);
      if constexpr (kHash) {
        add_products_of_round<14 - kFirst>(
            r - kFirst + 1, sum, x,
            [text](size_t i) ALWAYS_INLINE_LAMBDA { return V::byte_swap(V::load(text + i * kVectorLength)); }, key,
            offset);
      }
    }
    const T last = V::broadcast(key.round_keys + 14 * 16);
    UNROLL for (size_t i = 0; i < kVectors; i++) {
      // AESENCLAST ends with an XOR: give it the text too.
      b[i] = V::aesenclast(b[i], V::bit_xor(last, V::load(in + i * kVectorLength)));
    }
    UNROLL for (size_t i = 0; i < kVectors; i++) {
      V::store(out + i * kVectorLength, b[i]);
      V::store(text + i * kVectorLength, b[i]);
    }
  }

  // Decrypts a batch and hashes it. The ciphertext is read once, into `text`.
  template <bool kCached>
  static ALWAYS_INLINE void decrypt_batch(const Key& key, Stream& s, const uint8_t* in, uint8_t* out, uint8_t* text,
                                          Sum& sum, X acc, size_t offset) noexcept {
    constexpr size_t kFirst = kCached ? 3 : 1;
    T b[kVectors], x{};
    begin_batch<kCached>(key, s, b);
    UNROLL for (size_t r = kFirst; r < 14; r++) {
      const T k = V::broadcast(key.round_keys + r * 16);
      UNROLL for (size_t i = 0; i < kVectors; i++) b[i] = V::aesenc(b[i], k);
      add_products_of_round<14 - kFirst>(
          r - kFirst + 1, sum, x,
          [=](size_t i) ALWAYS_INLINE_LAMBDA {
            const T c = V::load(in + i * kVectorLength);
            V::store(text + i * kVectorLength, c);
            return i == 0 ? V::bit_xor(V::byte_swap(c), V::from_lane(acc)) : V::byte_swap(c);
          },
          key, offset);
    }
    const T last = V::broadcast(key.round_keys + 14 * 16);
    UNROLL for (size_t i = 0; i < kVectors; i++)
      V::store(out + i * kVectorLength, V::aesenclast(b[i], V::bit_xor(last, V::load(text + i * kVectorLength))));
  }

  // At most a batch. A whole batch of keystream costs hardly more than one vector of it: rounds are latency-bound.
  template <Direction D>
  static X crypt_tail(const Key& key, Stream& s, const uint8_t* in, size_t length, uint8_t* out, uint8_t* text, X acc,
                      State& state) noexcept {
    if (length > kBatchLength) __builtin_unreachable();
    T b[kVectors];
    const uint32_t first = s.next;
    begin_batch<false>(key, s, b);
    s.next = first + static_cast<uint32_t>((length + 15) / 16);
    UNROLL for (size_t r = 1; r < 14; r++) {
      const T k = V::broadcast(key.round_keys + r * 16);
      UNROLL for (size_t i = 0; i < kVectors; i++) b[i] = V::aesenc(b[i], k);
    }
    const T last = V::broadcast(key.round_keys + 14 * 16);
    alignas(64) uint8_t keystream[kBatchLength];
    UNROLL for (size_t i = 0; i < kVectors; i++) V::store(keystream + i * kVectorLength, V::aesenclast(b[i], last));
    const size_t partial = length % 16;
    const size_t padded = (length + kVectorLength - 1) / kVectorLength * kVectorLength;
    memcpy(text, in, length);
    if (padded > length) memset(text + length, 0, padded - length);
    if constexpr (D == Direction::encrypt) {
      for (size_t i = 0; i < padded; i += kVectorLength)
        V::store(text + i, V::bit_xor(V::load(text + i), V::load(keystream + i)));
      memcpy(out, text, length);
      if (padded > length) memset(text + length, 0, padded - length);
    }
    // A block in progress is hashed when it is complete or the text ends.
    const size_t whole = length / 16;
    const size_t tail_at = whole * 16;
    if (partial > 0) {
      memcpy(state.block, text + tail_at, 16);
      memcpy(state.keystream, keystream + tail_at, 16);
      state.partial = static_cast<uint32_t>(partial);
    }
    if (whole > 0) {
      if (partial > 0) memset(text + tail_at, 0, 16);
      acc = hash_blocks(key, acc, text, whole);
    }
    if constexpr (D == Direction::decrypt) {
      if (partial > 0) memcpy(text + tail_at, state.block, 16);
      for (size_t i = 0; i < padded; i += kVectorLength)
        V::store(text + i, V::bit_xor(V::load(text + i), V::load(keystream + i)));
      memcpy(out, text, length);
    }
    wipe(keystream, sizeof keystream);
    return acc;
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
    alignas(64) uint8_t text[64] = {};
    memcpy(text, state.block, state.partial);
    x_store(state.ghash, hash_blocks(key, x_load(state.ghash), text, 1));
    state.partial = 0;
  }

  static void finish(const Key& key, State& state, uint8_t tag[16]) noexcept {
    alignas(64) uint8_t text[64] = {};
    size_t blocks = 1;
    if (state.partial > 0) {
      memcpy(text, state.block, state.partial);
      state.partial = 0;
      blocks = 2;
    }
    store_be64(text + blocks * 16 - 16, state.aad_length * 8);
    store_be64(text + blocks * 16 - 8, state.text_length * 8);
    const X ghash = hash_blocks(key, x_load(state.ghash), text, blocks);
    x_store(tag, x_xor(x_byte_swap(ghash), x_load(state.tag_mask)));
  }

  // By squaring: the exponent is public.
  static void multiply(const Key& key, uint8_t value[16], uint64_t blocks) noexcept {
    X acc = x_load(value);
    X square = x_load(key.powers + (kPowerCount - 1) * 16);
    for (; blocks > 0; blocks >>= 1) {
      if (blocks & 1) acc = multiply_blocks(acc, square);
      square = multiply_blocks(square, square);
    }
    x_store(value, acc);
  }
};
