#include "gcm.h"

#include <cstring>

#include "kernel.h"

namespace frameseal::gcm {
namespace {

void wipe(void* bytes, size_t length) noexcept {
  std::memset(bytes, 0, length);
  __asm__ __volatile__("" : : "r"(bytes) : "memory");
}

// Inside, GHASH values are byte-reversed.
void reverse(uint8_t to[16], const uint8_t from[16]) noexcept {
  uint8_t bytes[16];
  for (size_t i = 0; i < 16; i++) bytes[i] = from[15 - i];
  std::memcpy(to, bytes, 16);
}

}  // namespace

void key_init(Key& key, const Kernel& kernel, const uint8_t raw[kKeyLength]) noexcept {
  key.kernel = &kernel;
  kernel.expand_key(key, raw);
}

void key_wipe(Key& key) noexcept { wipe(&key, sizeof key); }

void seal(const Key& key, const uint8_t nonce[kNonceLength], const uint8_t* aad, size_t aad_length, const uint8_t* in,
          size_t length, uint8_t* out, uint8_t tag[kTagLength]) noexcept {
  State state;
  key.kernel->start(key, state, nonce, aad, aad_length);
  if (length > 0) key.kernel->encrypt(key, state, in, length, out);
  key.kernel->finish(key, state, tag);
  state_wipe(state);
}

bool open(const Key& key, const uint8_t nonce[kNonceLength], const uint8_t* aad, size_t aad_length, const uint8_t* in,
          size_t length, uint8_t* out, const uint8_t tag[kTagLength]) noexcept {
  uint8_t expected[kTagLength];
  std::memcpy(expected, tag, kTagLength);  // before `out` is written, which may lie over it
  State state;
  key.kernel->start(key, state, nonce, aad, aad_length);
  if (length > 0) key.kernel->decrypt(key, state, in, length, out);
  const bool authentic = finish_and_compare(key, state, expected);
  state_wipe(state);
  if (!authentic && length > 0) wipe(out, length);
  return authentic;
}

void start(const Key& key, State& state, const uint8_t nonce[kNonceLength], const uint8_t* aad,
           size_t aad_length) noexcept {
  key.kernel->start(key, state, nonce, aad, aad_length);
}

void encrypt_update(const Key& key, State& state, const uint8_t* in, size_t length, uint8_t* out) noexcept {
  if (length > 0) key.kernel->encrypt(key, state, in, length, out);
}

void decrypt_update(const Key& key, State& state, const uint8_t* in, size_t length, uint8_t* out) noexcept {
  if (length > 0) key.kernel->decrypt(key, state, in, length, out);
}

void finish(const Key& key, State& state, uint8_t tag[kTagLength]) noexcept { key.kernel->finish(key, state, tag); }

bool finish_and_compare(const Key& key, State& state, const uint8_t tag[kTagLength]) noexcept {
  if (key.kernel->verify != nullptr) return key.kernel->verify(key, state, tag);
  uint8_t computed[kTagLength];
  key.kernel->finish(key, state, computed);
  const bool same = equal(computed, tag, kTagLength);
  wipe(computed, sizeof computed);  // the right tag of a forgery is worth a forgery
  return same;
}

void state_wipe(State& state) noexcept {
  if (state.context != nullptr) kOpenssl.release(state);
  wipe(&state, sizeof state);
}

bool has_segments(const Key& key) noexcept { return key.kernel->multiply != nullptr; }

void start_segment(const Key& key, State& state, const uint8_t nonce[kNonceLength], uint64_t first_block) noexcept {
  key.kernel->start(key, state, nonce, nullptr, 0);
  const uint32_t counter = __builtin_bswap32(static_cast<uint32_t>(first_block + 2));
  std::memcpy(state.counter + 12, &counter, 4);
}

void export_segment(const Key& key, State& state, uint8_t ghash[16]) noexcept {
  key.kernel->flush(key, state);
  reverse(ghash, state.ghash);
}

void append_segment(const Key& key, State& state, const uint8_t ghash[16], uint64_t length) noexcept {
  key.kernel->multiply(key, state.ghash, (length + 15) / 16);
  uint8_t part[16];
  reverse(part, ghash);
  for (size_t i = 0; i < 16; i++) state.ghash[i] ^= part[i];
  state.text_length += length;
  wipe(part, sizeof part);
}

bool equal(const uint8_t* a, const uint8_t* b, size_t length) noexcept {
  uint8_t difference = 0;
  for (size_t i = 0; i < length; i++) difference |= a[i] ^ b[i];
  __asm__ __volatile__("" : "+r"(difference));  // no early exit
  return difference == 0;
}

}  // namespace frameseal::gcm
