#include "message_digest.h"

#include <cstdlib>

#include "gcm/process_symbol.h"

namespace frameseal {
namespace {

struct Evp {
  void* (*ctx_new)();
  void (*ctx_free)(void*);
  const void* (*sha256)();
  const void* (*sha384)();
  const void* (*sha512)();
  int (*init)(void*, const void*, void*);
  int (*update)(void*, const void*, size_t);
  int (*final)(void*, uint8_t*, unsigned*);
  void* (*read_public_key)(void**, const uint8_t**, long);
  void (*free_key)(void*);
  void* (*key_ctx_new)(void*, void*);
  void (*key_ctx_free)(void*);
  int (*verify_init)(void*);
  int (*verify)(void*, const uint8_t*, size_t, const uint8_t*, size_t);
  void (*clear_errors)();
  bool complete;
};

const Evp& evp() noexcept {
  static const Evp functions = [] {
    Evp f{};
    f.complete = look_up(f.ctx_new, "EVP_MD_CTX_new") && look_up(f.ctx_free, "EVP_MD_CTX_free") &&
                 look_up(f.sha256, "EVP_sha256") && look_up(f.sha384, "EVP_sha384") &&
                 look_up(f.sha512, "EVP_sha512") && look_up(f.init, "EVP_DigestInit_ex") &&
                 look_up(f.update, "EVP_DigestUpdate") && look_up(f.final, "EVP_DigestFinal_ex") &&
                 look_up(f.read_public_key, "d2i_PUBKEY") && look_up(f.free_key, "EVP_PKEY_free") &&
                 look_up(f.key_ctx_new, "EVP_PKEY_CTX_new") && look_up(f.key_ctx_free, "EVP_PKEY_CTX_free") &&
                 look_up(f.verify_init, "EVP_PKEY_verify_init") && look_up(f.verify, "EVP_PKEY_verify") &&
                 look_up(f.clear_errors, "ERR_clear_error");
    return f;
  }();
  return functions;
}

// A hash that fails would mean another library under the same names: nothing it says can be trusted then.
void require(bool ok) noexcept {
  if (!ok) std::abort();
}

}  // namespace

MessageDigest::~MessageDigest() {
  if (context_ != nullptr) evp().ctx_free(context_);
}

bool MessageDigest::start(uint32_t bits) noexcept {
  if (!evp().complete) return false;
  const void* const algorithm = bits == 256   ? evp().sha256()
                                : bits == 384 ? evp().sha384()
                                : bits == 512 ? evp().sha512()
                                              : nullptr;
  if (algorithm == nullptr) return false;
  context_ = evp().ctx_new();
  length_ = bits / 8;
  if (context_ != nullptr && evp().init(context_, algorithm, nullptr) == 1) return true;
  evp().clear_errors();
  return false;
}

void MessageDigest::update(const uint8_t* bytes, size_t length) noexcept {
  require(evp().update(context_, bytes, length) == 1);
}

void MessageDigest::finish(uint8_t* output) noexcept {
  unsigned written = 0;
  require(evp().final(context_, output, &written) == 1 && written == length_);
}

bool verify_digest(const uint8_t* key, size_t key_length, const uint8_t* digest, size_t digest_length,
                   const uint8_t* signature, size_t signature_length) noexcept {
  if (!evp().complete) return false;
  const uint8_t* at = key;
  void* const public_key = evp().read_public_key(nullptr, &at, static_cast<long>(key_length));
  void* const context = public_key == nullptr ? nullptr : evp().key_ctx_new(public_key, nullptr);
  const bool is_valid = context != nullptr && evp().verify_init(context) == 1 &&
                        evp().verify(context, signature, signature_length, digest, digest_length) == 1;
  if (context != nullptr) evp().key_ctx_free(context);
  if (public_key != nullptr) evp().free_key(public_key);
  evp().clear_errors();  // Node looks at this thread's errors too
  return is_valid;
}

}  // namespace frameseal
