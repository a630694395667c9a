// AES-256-GCM with 12-byte nonces and 16-byte tags (SP 800-38D), on the kernel that fits the CPU. Plain C++20: no heap,
// no exceptions, no Node-API. Pointers may be null where the length is 0. Nothing here keeps a pointer of the caller.
#pragma once
#include <cstddef>
#include <cstdint>

namespace frameseal::gcm {

inline constexpr size_t kKeyLength = 32;
inline constexpr size_t kNonceLength = 12;
inline constexpr size_t kTagLength = 16;
inline constexpr size_t kBlockLength = 16;
/** 2^36 − 32 bytes of text a message (SP 800-38D, 5.2.1.1). Callers check it. */
inline constexpr uint64_t kMaxTextLength = (uint64_t{1} << 36) - 32;
/** Powers of H kept for each key. */
inline constexpr size_t kPowerCount = 64;

struct Kernel;

/** An expanded key: belongs to the kernel that made it. Read by any number of threads at a time. */
struct alignas(64) Key {
  const Kernel* kernel;
  alignas(64) uint8_t round_keys[15 * 16];
  /** H^64 … H^1, shifted by one bit (see gcm_body.inl), then zeros so that vectors can be loaded at any power. */
  alignas(64) uint8_t powers[(kPowerCount + 4) * 16];
  /** Upper XOR lower half of each, twice, for Karatsuba multiplication. */
  alignas(64) uint8_t folded_powers[(kPowerCount + 4) * 16];
};

/** One message in progress, or one segment of it. */
struct alignas(16) State {
  uint8_t ghash[16];
  /** The next counter block. */
  uint8_t counter[16];
  /** E(K, J0), which masks the tag. */
  uint8_t tag_mask[16];
  /** Keystream of the block in progress, and its ciphertext so far. */
  uint8_t keystream[16];
  uint8_t block[16];
  /** Bytes of the block in progress: 0 to 15. */
  uint32_t partial;
  uint64_t aad_length;
  uint64_t text_length;
  /** Owned by the openssl kernel. */
  void* context;
};

/** Expands `raw` with `kernel`, which must work on this CPU. `key_wipe` ends it. */
void key_init(Key& key, const Kernel& kernel, const uint8_t raw[kKeyLength]) noexcept;
void key_wipe(Key& key) noexcept;

/** Seals one message. `out` may be `in`, otherwise they must not overlap. */
void seal(const Key& key, const uint8_t nonce[kNonceLength], const uint8_t* aad, size_t aad_length, const uint8_t* in,
          size_t length, uint8_t* out, uint8_t tag[kTagLength]) noexcept;
/**
 * Opens one message; false if it is not authentic, and then `out` has been wiped. Each byte of `in` is read once, so
 * that someone who writes there meanwhile cannot get other bytes out than those that were verified.
 */
[[nodiscard]] bool open(const Key& key, const uint8_t nonce[kNonceLength], const uint8_t* aad, size_t aad_length,
                        const uint8_t* in, size_t length, uint8_t* out, const uint8_t tag[kTagLength]) noexcept;

/** Starts a message. `state_wipe` ends every state, finished or not. */
void start(const Key& key, State& state, const uint8_t nonce[kNonceLength], const uint8_t* aad,
           size_t aad_length) noexcept;
/** Pieces of any length. Output of `decrypt_update` is not verified before `finish_and_compare`. */
void encrypt_update(const Key& key, State& state, const uint8_t* in, size_t length, uint8_t* out) noexcept;
void decrypt_update(const Key& key, State& state, const uint8_t* in, size_t length, uint8_t* out) noexcept;
void finish(const Key& key, State& state, uint8_t tag[kTagLength]) noexcept;
/** Finishes and compares in constant time. */
[[nodiscard]] bool finish_and_compare(const Key& key, State& state, const uint8_t tag[kTagLength]) noexcept;
void state_wipe(State& state) noexcept;

/** Whether parts of one message can be worked on apart from each other with this key. */
bool has_segments(const Key& key) noexcept;
/**
 * Starts a part of a message at block `first_block` of its text (from 0 on), for the update functions. Only the last
 * part of a message may end inside a block. Not with the openssl kernel.
 */
void start_segment(const Key& key, State& state, const uint8_t nonce[kNonceLength], uint64_t first_block) noexcept;
/** Gives out the GHASH value of a segment's text, padded with zeros. Ends it, but for `state_wipe`. */
void export_segment(const Key& key, State& state, uint8_t ghash[16]) noexcept;
/** Appends a part of `length` bytes to a message or segment that ends at a block: GHASH' = GHASH · H^n + part. */
void append_segment(const Key& key, State& state, const uint8_t ghash[16], uint64_t length) noexcept;

/** Compares in time that does not depend on the bytes. */
[[nodiscard]] bool equal(const uint8_t* a, const uint8_t* b, size_t length) noexcept;

}  // namespace frameseal::gcm
