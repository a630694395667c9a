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

/** Whether `signature` (DER) is one of `digest` under `key` (SubjectPublicKeyInfo, DER). */
bool verify_digest(const uint8_t* key, size_t key_length, const uint8_t* digest, size_t digest_length,
                   const uint8_t* signature, size_t signature_length) noexcept;

}  // namespace frameseal
