#include "message_digest.h"

#include <cstdlib>
#include <cstring>

#include "gcm/process_symbol.h"

namespace frameseal {
namespace {

/** EVP_PKEY_EC */
constexpr int kEllipticCurveKey = 408;
/** Longer than a signature of any curve up to 521 bits. */
constexpr size_t kMaxSignatureLength = 160;
/** Bytes of the order of a curve up to 384 bits. */
constexpr size_t kMaxOrderLength = 48;
/** All but one in 256 have the commonest length, or have it when negated: so many others in a row are no chance. */
constexpr int kMaxSignatures = 64;

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
  void* (*read_private_key)(int, void**, const uint8_t**, long);
  int (*sign_init)(void*);
  int (*sign)(void*, uint8_t*, size_t*, const uint8_t*, size_t);
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
                 look_up(f.read_private_key, "d2i_PrivateKey") && look_up(f.sign_init, "EVP_PKEY_sign_init") &&
                 look_up(f.sign, "EVP_PKEY_sign") && look_up(f.verify_init, "EVP_PKEY_verify_init") && look_up(f.verify, "EVP_PKEY_verify") &&
                 look_up(f.clear_errors, "ERR_clear_error");
    return f;
  }();
  return functions;
}

// A hash that fails would mean another library under the same names: nothing it says can be trusted then.
void require(bool ok) noexcept {
  if (!ok) std::abort();
}

/**
 * Makes of the signature (r, s) in DER (r, order - s), which is as valid and often has another length; returns that. 0 for
 * what has more than a short form of lengths: curves beyond 384 bits.
 */
size_t negate(uint8_t* der, size_t length, ByteView order) noexcept {
  const size_t s_at = length < 4 ? length : size_t{4} + der[3] + 2;  // SEQUENCE, INTEGER r, INTEGER s
  if (s_at >= length || s_at + der[s_at - 1] != length || der[1] + size_t{2} != length || order.length > kMaxOrderLength)
    return 0;
  uint8_t negated[kMaxOrderLength + 1] = {};  // a zero first, for the sign
  int borrow = 0;
  for (size_t i = 0; i < order.length; i++) {
    const int digit = i < length - s_at ? der[length - 1 - i] : 0;
    const int difference = order.data[order.length - 1 - i] - digit - borrow;
    borrow = difference < 0 ? 1 : 0;
    negated[order.length - i] = static_cast<uint8_t>(difference);
  }
  size_t first = 0;
  while (first < order.length && negated[first] == 0 && negated[first + 1] < 0x80) first++;
  const size_t negated_length = order.length + 1 - first;
  std::memcpy(der + s_at, negated + first, negated_length);
  der[s_at - 1] = static_cast<uint8_t>(negated_length);
  const size_t new_length = s_at + negated_length;
  der[1] = static_cast<uint8_t>(new_length - 2);
  return new_length;
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

bool sign_digest(ByteView key, ByteView digest, ByteView order, uint8_t* signature, size_t signature_length) noexcept {
  if (!evp().complete) return false;
  const uint8_t* at = key.data;
  void* const private_key = evp().read_private_key(kEllipticCurveKey, nullptr, &at, static_cast<long>(key.length));
  void* const context = private_key == nullptr ? nullptr : evp().key_ctx_new(private_key, nullptr);
  bool is_signed = false;
  bool works = context != nullptr && evp().sign_init(context) == 1;
  for (int i = 0; works && !is_signed && i < kMaxSignatures; i++) {
    uint8_t der[kMaxSignatureLength];
    size_t length = sizeof der;
    works = evp().sign(context, der, &length, digest.data, digest.length) == 1;
    if (works && length != signature_length) length = negate(der, length, order);
    is_signed = works && length == signature_length;
    if (is_signed) std::memcpy(signature, der, length);
  }
  if (context != nullptr) evp().key_ctx_free(context);
  if (private_key != nullptr) evp().free_key(private_key);
  evp().clear_errors();  // Node looks at this thread's errors too
  return is_signed;
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
