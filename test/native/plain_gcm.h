// AES-256-GCM as the standards write it (FIPS 197, SP 800-38D), bit by bit: slow, not constant time, and sharing nothing
// with the kernels. The oracle where there is no OpenSSL to link with, and a check on OpenSSL where there is.
#pragma once
#include <cstddef>
#include <cstdint>
#include <cstring>

namespace plain {

inline uint8_t times(uint8_t a, uint8_t b) {  // in AES's field
  uint8_t product = 0;
  for (; b != 0; b >>= 1) {
    if (b & 1) product ^= a;
    a = static_cast<uint8_t>(a << 1 ^ (a & 0x80 ? 0x1b : 0));
  }
  return product;
}

struct SBox {
  uint8_t bytes[256];
  SBox() {
    for (int x = 0; x < 256; x++) {
      uint8_t inverse = 0;
      for (int y = 1; y < 256; y++)
        if (times(static_cast<uint8_t>(x), static_cast<uint8_t>(y)) == 1) inverse = static_cast<uint8_t>(y);
      uint8_t result = 0x63;
      for (int i = 0; i < 5; i++) result ^= static_cast<uint8_t>(inverse << i | inverse >> (8 - i));
      bytes[x] = result;
    }
  }
};
inline uint8_t substitute(uint8_t x) {
  static const SBox box;
  return box.bytes[x];
}

class Aes256 {
 public:
  explicit Aes256(const uint8_t raw[32]) {
    std::memcpy(keys_, raw, 32);
    uint8_t rcon = 1;
    for (int word = 8; word < 60; word++) {
      uint8_t t[4];
      std::memcpy(t, keys_ + (word - 1) * 4, 4);
      if (word % 8 == 0) {
        const uint8_t first = t[0];
        for (int i = 0; i < 3; i++) t[i] = substitute(t[i + 1]);
        t[3] = substitute(first);
        t[0] ^= rcon;
        rcon = times(rcon, 2);
      } else if (word % 8 == 4) {
        for (uint8_t& byte : t) byte = substitute(byte);
      }
      for (int i = 0; i < 4; i++) keys_[word * 4 + i] = keys_[(word - 8) * 4 + i] ^ t[i];
    }
  }
  void encrypt(const uint8_t in[16], uint8_t out[16]) const {
    uint8_t s[16], t[16];
    for (int i = 0; i < 16; i++) s[i] = in[i] ^ keys_[i];
    for (int round = 1; round <= 14; round++) {
      for (int i = 0; i < 16; i++) t[i] = substitute(s[(i + 4 * (i % 4)) % 16]);  // SubBytes, ShiftRows
      for (int i = 0; i < 16; i++) {
        const uint8_t* const column = t + i / 4 * 4;
        const auto byte = [&](int k) { return column[(i + k) % 4]; };
        s[i] = round == 14 ? t[i] : static_cast<uint8_t>(doubled(byte(0)) ^ doubled(byte(1)) ^ byte(1) ^ byte(2) ^ byte(3));
        s[i] ^= keys_[round * 16 + i];
      }
    }
    std::memcpy(out, s, 16);
  }

 private:
  static uint8_t doubled(uint8_t a) { return static_cast<uint8_t>(a << 1 ^ (a & 0x80 ? 0x1b : 0)); }
  uint8_t keys_[240];
};

class Ghash {
 public:
  explicit Ghash(const uint8_t h[16]) : high_(load(h)), low_(load(h + 8)) {}
  /** Padded with zeros. */
  void update(const uint8_t* bytes, size_t length) {
    for (size_t at = 0; at < length; at += 16) {
      uint8_t block[16] = {};
      std::memcpy(block, bytes + at, length - at < 16 ? length - at : 16);
      y_high_ ^= load(block);
      y_low_ ^= load(block + 8);
      multiply();
    }
  }
  void value(uint8_t out[16]) const {
    for (int i = 0; i < 8; i++) {
      out[i] = static_cast<uint8_t>(y_high_ >> (56 - 8 * i));
      out[8 + i] = static_cast<uint8_t>(y_low_ >> (56 - 8 * i));
    }
  }

 private:
  static uint64_t load(const uint8_t* p) {
    uint64_t value = 0;
    for (int i = 0; i < 8; i++) value = value << 8 | p[i];
    return value;
  }
  void multiply() {  // SP 800-38D, algorithm 1
    uint64_t z_high = 0, z_low = 0, v_high = high_, v_low = low_;
    for (int i = 0; i < 128; i++) {
      const uint64_t bit = (i < 64 ? y_high_ >> (63 - i) : y_low_ >> (127 - i)) & 1;
      z_high ^= v_high & (0 - bit);
      z_low ^= v_low & (0 - bit);
      const uint64_t carry = v_low & 1;
      v_low = v_low >> 1 | v_high << 63;
      v_high = v_high >> 1 ^ (carry << 63 | carry << 62 | carry << 61 | carry << 56);
    }
    y_high_ = z_high;
    y_low_ = z_low;
  }
  uint64_t high_, low_, y_high_ = 0, y_low_ = 0;
};

inline void seal(const uint8_t raw[32], const uint8_t nonce[12], const uint8_t* aad, size_t aad_length, const uint8_t* in,
                 size_t length, uint8_t* out, uint8_t tag[16]) {
  const Aes256 aes(raw);
  uint8_t counter[16] = {}, stream[16], h[16], lengths[16];
  aes.encrypt(counter, h);
  std::memcpy(counter, nonce, 12);
  for (size_t at = 0; at < length; at++) {
    const uint32_t number = static_cast<uint32_t>(at / 16 + 2);
    for (int i = 0; i < 4; i++) counter[12 + i] = static_cast<uint8_t>(number >> (24 - 8 * i));
    if (at % 16 == 0) aes.encrypt(counter, stream);
    out[at] = in[at] ^ stream[at % 16];
  }
  Ghash ghash(h);
  if (aad_length > 0) ghash.update(aad, aad_length);
  if (length > 0) ghash.update(out, length);
  for (int i = 0; i < 8; i++) {
    lengths[i] = static_cast<uint8_t>(uint64_t{aad_length} * 8 >> (56 - 8 * i));
    lengths[8 + i] = static_cast<uint8_t>(uint64_t{length} * 8 >> (56 - 8 * i));
  }
  ghash.update(lengths, 16);
  ghash.value(tag);
  for (int i = 0; i < 4; i++) counter[12 + i] = i == 3;
  aes.encrypt(counter, stream);
  for (int i = 0; i < 16; i++) tag[i] ^= stream[i];
}

}  // namespace plain
