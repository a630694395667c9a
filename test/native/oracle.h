// What the kernels are compared with: OpenSSL's EVP interface, or, where there is none to link with, the plain words of
// the standards.
#pragma once
#include <cstdint>
#include <vector>

#ifdef FRAMESEAL_PLAIN_ORACLE
#include "plain_gcm.h"
#else
#include <openssl/evp.h>
#endif

using Bytes = std::vector<uint8_t>;

/** Seals one message; `out` has room for `length` bytes. */
inline void oracle_seal(const uint8_t* raw, const uint8_t* nonce, const Bytes& aad, const uint8_t* in, size_t length,
                        uint8_t* out, uint8_t* tag) {
#ifdef FRAMESEAL_PLAIN_ORACLE
  plain::seal(raw, nonce, aad.data(), aad.size(), in, length, out, tag);
#else
  static EVP_CIPHER_CTX* context = EVP_CIPHER_CTX_new();
  int written = 0;
  uint8_t rest[16];
  EVP_EncryptInit_ex(context, EVP_aes_256_gcm(), nullptr, raw, nonce);
  if (!aad.empty()) EVP_EncryptUpdate(context, nullptr, &written, aad.data(), static_cast<int>(aad.size()));
  if (length > 0) EVP_EncryptUpdate(context, out, &written, in, static_cast<int>(length));
  EVP_EncryptFinal_ex(context, rest, &written);
  EVP_CIPHER_CTX_ctrl(context, EVP_CTRL_GCM_GET_TAG, 16, tag);
#endif
}

/** Encrypts single blocks with AES-256. */
inline void oracle_blocks(const uint8_t* raw, const Bytes& in, Bytes& out) {
  out.resize(in.size() + 16);
#ifdef FRAMESEAL_PLAIN_ORACLE
  const plain::Aes256 aes(raw);
  for (size_t at = 0; at < in.size(); at += 16) aes.encrypt(in.data() + at, out.data() + at);
#else
  static EVP_CIPHER_CTX* context = EVP_CIPHER_CTX_new();
  int written = 0;
  EVP_EncryptInit_ex(context, EVP_aes_256_ecb(), nullptr, raw, nullptr);
  EVP_CIPHER_CTX_set_padding(context, 0);
  EVP_EncryptUpdate(context, out.data(), &written, in.data(), static_cast<int>(in.size()));
#endif
}
