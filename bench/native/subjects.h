// AES-256-GCM of each library under one shape: the key is set once and kept, each message brings a nonce of its own.
#pragma once
#include <openssl/crypto.h>
#include <openssl/evp.h>

#include <cstring>
#include <memory>
#include <string>
#include <vector>

#include "gcm/kernels.h"

#ifdef FRAMESEAL_IPSEC_MB
#include <intel-ipsec-mb.h>
#endif

namespace frameseal::bench {

using gcm::kKeyLength;
using gcm::kNonceLength;
using gcm::kTagLength;

struct Bytes {
  const uint8_t* data;
  size_t length;
};

class Subject {
 public:
  explicit Subject(std::string name) : name(std::move(name)) {}
  virtual ~Subject() = default;
  const std::string name;

  virtual void set_key(const uint8_t raw[kKeyLength]) = 0;
  virtual void seal(const uint8_t nonce[kNonceLength], Bytes aad, Bytes in, uint8_t* out, uint8_t tag[kTagLength]) = 0;
  [[nodiscard]] virtual bool open(const uint8_t nonce[kNonceLength], Bytes aad, Bytes in, uint8_t* out,
                                  const uint8_t tag[kTagLength]) = 0;
};

/** A kernel of this project, through the calls that the addon makes for a frame. */
class OwnKernel final : public Subject {
 public:
  explicit OwnKernel(const gcm::Kernel& kernel) : Subject(kernel.name), kernel_(kernel) {}
  ~OwnKernel() override { gcm::key_wipe(key_); }
  void set_key(const uint8_t raw[kKeyLength]) override { gcm::key_init(key_, kernel_, raw); }
  void seal(const uint8_t nonce[kNonceLength], Bytes aad, Bytes in, uint8_t* out, uint8_t tag[kTagLength]) override {
    gcm::seal(key_, nonce, aad.data, aad.length, in.data, in.length, out, tag);
  }
  bool open(const uint8_t nonce[kNonceLength], Bytes aad, Bytes in, uint8_t* out,
            const uint8_t tag[kTagLength]) override {
    return gcm::open(key_, nonce, aad.data, aad.length, in.data, in.length, out, tag);
  }

 private:
  const gcm::Kernel& kernel_;
  gcm::Key key_{};
};

/** EVP of the system's OpenSSL at its best: two contexts kept, a message sets the IV alone. */
class OpensslEvp final : public Subject {
 public:
  OpensslEvp() : Subject("openssl-evp"), sealing_(EVP_CIPHER_CTX_new()), opening_(EVP_CIPHER_CTX_new()) {}
  ~OpensslEvp() override {
    EVP_CIPHER_CTX_free(sealing_);
    EVP_CIPHER_CTX_free(opening_);
  }
  void set_key(const uint8_t raw[kKeyLength]) override {
    EVP_EncryptInit_ex(sealing_, EVP_aes_256_gcm(), nullptr, raw, nullptr);
    EVP_DecryptInit_ex(opening_, EVP_aes_256_gcm(), nullptr, raw, nullptr);
  }
  void seal(const uint8_t nonce[kNonceLength], Bytes aad, Bytes in, uint8_t* out, uint8_t tag[kTagLength]) override {
    int written = 0;
    uint8_t rest[16];
    EVP_EncryptInit_ex(sealing_, nullptr, nullptr, nullptr, nonce);
    EVP_EncryptUpdate(sealing_, nullptr, &written, aad.data, static_cast<int>(aad.length));
    EVP_EncryptUpdate(sealing_, out, &written, in.data, static_cast<int>(in.length));
    EVP_EncryptFinal_ex(sealing_, rest, &written);
    EVP_CIPHER_CTX_ctrl(sealing_, EVP_CTRL_GCM_GET_TAG, kTagLength, tag);
  }
  bool open(const uint8_t nonce[kNonceLength], Bytes aad, Bytes in, uint8_t* out,
            const uint8_t tag[kTagLength]) override {
    int written = 0;
    uint8_t rest[16], expected[kTagLength];
    std::memcpy(expected, tag, kTagLength);
    EVP_DecryptInit_ex(opening_, nullptr, nullptr, nullptr, nonce);
    EVP_DecryptUpdate(opening_, nullptr, &written, aad.data, static_cast<int>(aad.length));
    EVP_DecryptUpdate(opening_, out, &written, in.data, static_cast<int>(in.length));
    EVP_CIPHER_CTX_ctrl(opening_, EVP_CTRL_GCM_SET_TAG, kTagLength, expected);
    return EVP_DecryptFinal_ex(opening_, rest, &written) == 1;
  }

 private:
  EVP_CIPHER_CTX* sealing_;
  EVP_CIPHER_CTX* opening_;
};

#ifdef FRAMESEAL_IPSEC_MB
/** Intel's library, with the architecture it takes by itself and its precomputed key. */
class IntelIpsecMb final : public Subject {
 public:
  IntelIpsecMb() : Subject("intel-ipsec-mb"), manager_(alloc_mb_mgr(0)) {
    if (manager_ != nullptr) init_mb_mgr_auto(manager_, &architecture_);
  }
  ~IntelIpsecMb() override { free_mb_mgr(manager_); }
  bool works() const { return manager_ != nullptr && imb_get_errno(manager_) == 0; }
  const char* architecture() const {
    const char* const names[] = {"none", "no AES-NI", "SSE", "AVX", "AVX2", "AVX512"};
    return names[architecture_];
  }
  void set_key(const uint8_t raw[kKeyLength]) override { IMB_AES256_GCM_PRE(manager_, raw, &key_); }
  void seal(const uint8_t nonce[kNonceLength], Bytes aad, Bytes in, uint8_t* out, uint8_t tag[kTagLength]) override {
    IMB_AES256_GCM_ENC(manager_, &key_, &context_, out, in.data, in.length, nonce, aad.data, aad.length, tag, kTagLength);
  }
  bool open(const uint8_t nonce[kNonceLength], Bytes aad, Bytes in, uint8_t* out,
            const uint8_t tag[kTagLength]) override {
    uint8_t computed[kTagLength];
    IMB_AES256_GCM_DEC(manager_, &key_, &context_, out, in.data, in.length, nonce, aad.data, aad.length, computed,
                       kTagLength);
    return gcm::equal(computed, tag, kTagLength);
  }

 private:
  IMB_MGR* manager_;
  IMB_ARCH architecture_ = IMB_ARCH_NONE;
  alignas(64) gcm_key_data key_{};
  gcm_context_data context_{};
};
#endif

}  // namespace frameseal::bench
