// The first n bytes of a vector, by masks where V has them. Included by ghash.inl.

template <class V>
struct Parts {
  using T = typename V::T;
  static constexpr size_t kVectorLength = V::kBlocks * 16;

  // The first n bytes of a vector in memory; the others are zero, and not touched there.
  static ALWAYS_INLINE T load_part(const uint8_t* from, size_t n) noexcept {
    if (n >= kVectorLength) return V::load(from);
    if constexpr (V::kHasMasks) {
      return V::load_part(from, n);
    } else {
      alignas(64) uint8_t bytes[kVectorLength] = {};
      memcpy(bytes, from, n);
      const T v = V::load(bytes);
      wipe(bytes, sizeof bytes);
      return v;
    }
  }
  static ALWAYS_INLINE void store_part(uint8_t* to, T v, size_t n) noexcept {
    if (n >= kVectorLength) return V::store(to, v);
    if constexpr (V::kHasMasks) {
      V::store_part(to, v, n);
    } else {
      alignas(64) uint8_t bytes[kVectorLength];
      V::store(bytes, v);
      memcpy(to, bytes, n);
      wipe(bytes, sizeof bytes);
    }
  }
  static ALWAYS_INLINE T keep_part(T v, size_t n) noexcept {
    if (n >= kVectorLength) return v;
    if constexpr (V::kHasMasks) {
      return V::keep_part(v, n);
    } else {
      alignas(64) uint8_t bytes[kVectorLength];
      V::store(bytes, v);
      memset(bytes + n, 0, kVectorLength - n);
      return V::load(bytes);
    }
  }
};
