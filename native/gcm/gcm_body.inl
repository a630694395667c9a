// AES-256-GCM over a vector type, written once and included by each kernel inside its own anonymous namespace.
//
// Nothing branches on, or is addressed by, key or text: only lengths and the public counter decide.
//
// V has: T (the vector), kBlocks in it, kVectors in a group, kKeepsRoundKeys (there are registers for all of them),
// kFoldsPairs (bringing halves of two vectors together is cheap), kHasMasks (load_part, store_part and keep_part for the
// first n bytes), and the operations used below.

#include "ctr.inl"

template <class V>
struct Body {
  using T = typename V::T;
  using P = Parts<V>;
  using H = Ghash<V>;
  using C = Ctr<V>;
  using Direction = typename C::Direction;
  using Stream = typename C::Stream;
  static constexpr size_t kVectors = V::kVectors;
  static constexpr size_t kVectorLength = V::kBlocks * 16;
  static constexpr size_t kGroupBlocks = C::kGroupBlocks;
  static constexpr size_t kGroupLength = C::kGroupLength;

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
    x_store(state.tag_mask, encrypt_block(key, C::counter_block(nonce, 1)));
    x_store(state.counter, C::counter_block(nonce, 2));
    x_store(state.ghash, H::hash_bytes(key, x_zero(), aad, aad_length));
    state.partial = 0;
    state.aad_length = aad_length;
    state.text_length = 0;
    state.context = nullptr;
  }

  // `length` is a multiple of 16, or the text ends here.
  template <Direction D>
  static void crypt_blocks(const Key& key, State& state, const uint8_t* in, size_t length, uint8_t* out) noexcept {
    Stream s;
    s.nonce = state.counter;
    s.next = load_be32(state.counter + 12);
    s.step = V::counter_step();
    C::set_counters(s);
    X acc = x_load(state.ghash);
    if (length >= C::kMinCachedLength) {
      alignas(64) uint8_t table[C::kTableLength];
      const size_t head = (0 - s.next) % kGroupBlocks * 16;  // up to where no group crosses a window
      if (head > 0) acc = crypt_tail<D>(key, s, in, head, out, acc, state);
      C::set_counters(s);
      s.table = table;
      const size_t whole = (length - head) / kGroupLength * kGroupLength;
      acc = C::template crypt_groups<D, true>(key, s, in + head, whole / kGroupLength, out + head, acc);
      in += head + whole;
      out += head + whole;
      length -= head + whole;
      C::set_counters(s);
      wipe(table, sizeof table);
    } else if (length >= kGroupLength) {
      const size_t whole = length / kGroupLength * kGroupLength;
      acc = C::template crypt_groups<D, false>(key, s, in, whole / kGroupLength, out, acc);
      in += whole;
      out += whole;
      length -= whole;
    }
    if (length > 0) acc = crypt_tail<D>(key, s, in, length, out, acc, state);
    x_store(state.ghash, acc);
    x_store(state.counter, C::counter_block(state.counter, s.next));
  }

  // Less than a group. A whole group of keystream costs hardly more than one vector of it: rounds are latency-bound.
  template <Direction D>
  static X crypt_tail(const Key& key, Stream& s, const uint8_t* in, size_t length, uint8_t* out, X acc,
                      State& state) noexcept {
    if (length >= kGroupLength) __builtin_unreachable();
    T b[kVectors];
    const uint32_t first = s.next;
    C::template begin_group<C::Start::plain>(key, s, b);
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
