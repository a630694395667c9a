// What is used of the OpenSSL that the running process carries: SHA-2 and ECDSA over a finished digest.
#pragma once
#include <cstddef>
#include <cstdint>

namespace frameseal {

/** A SHA-2 digest in the making. One thread at a time may use it. */
class MessageDigest {
 public:
  MessageDigest() = default;
  MessageDigest(const MessageDigest&) = delete;
  MessageDigest& operator=(const MessageDigest&) = delete;
  ~MessageDigest();

  /** False if the process has no such hash: `bits` is 256, 384 or 512. */
  bool start(uint32_t bits) noexcept;
  void update(const uint8_t* bytes, size_t length) noexcept;
  /** Writes `length()` bytes. Nothing may be called afterwards. */
  void finish(uint8_t* output) noexcept;
  /** Bytes of the digest. */
  size_t length() const noexcept { return length_; }

 private:
  void* context_ = nullptr;
  size_t length_ = 0;
};

/** A view of bytes that somebody else owns. */
struct ByteView {
  const uint8_t* data;
  size_t length;
};

/**
 * Signs `digest` with `key` (ECPrivateKey of RFC 5915, DER), which the caller wipes, until the signature (DER) has exactly
 * `signature_length` bytes. `order` is that of the curve's base point, big-endian. False if the process has no such
 * function, or will not take the key or the length.
 */
bool sign_digest(ByteView key, ByteView digest, ByteView order, uint8_t* signature, size_t signature_length) noexcept;

/** Whether `signature` (DER) is one of `digest` under `key` (SubjectPublicKeyInfo, DER). */
bool verify_digest(const uint8_t* key, size_t key_length, const uint8_t* digest, size_t digest_length,
                   const uint8_t* signature, size_t signature_length) noexcept;

}  // namespace frameseal
