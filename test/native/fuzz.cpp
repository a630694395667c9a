// libFuzzer: all tiers that run here against OpenSSL, sealed and opened, in pieces, in place, with a wrong tag.
// Input: key 32, nonce 12, AAD length 1, first piece 2, flags 1, then AAD and plaintext.
#include <openssl/evp.h>

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <vector>

#include "gcm/kernels.h"

using namespace frameseal::gcm;
using Bytes = std::vector<uint8_t>;

namespace {

constexpr size_t kHead = kKeyLength + kNonceLength + 4;

void must(bool holds, const char* kernel, const char* what) {
  if (holds) return;
  std::fprintf(stderr, "%s: %s\n", kernel, what);
  std::abort();
}

void seal_by_openssl(const uint8_t* key, const uint8_t* nonce, const Bytes& aad, const Bytes& text, Bytes& out, uint8_t* tag) {
  EVP_CIPHER_CTX* ctx = EVP_CIPHER_CTX_new();
  int done = 0;
  EVP_EncryptInit_ex(ctx, EVP_aes_256_gcm(), nullptr, key, nonce);
  if (!aad.empty()) EVP_EncryptUpdate(ctx, nullptr, &done, aad.data(), static_cast<int>(aad.size()));
  if (!text.empty()) EVP_EncryptUpdate(ctx, out.data(), &done, text.data(), static_cast<int>(text.size()));
  uint8_t rest[16];
  EVP_EncryptFinal_ex(ctx, rest, &done);
  EVP_CIPHER_CTX_ctrl(ctx, EVP_CTRL_GCM_GET_TAG, kTagLength, tag);
  EVP_CIPHER_CTX_free(ctx);
}

bool opens(const Kernel& kernel, const Key& key, State& state, const uint8_t* tag) {
  if (kernel.verify != nullptr) return kernel.verify(key, state, tag);
  uint8_t own[kTagLength];
  kernel.finish(key, state, own);
  return std::memcmp(own, tag, kTagLength) == 0;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size < kHead) return 0;
  const uint8_t* raw = data;
  const uint8_t* nonce = data + kKeyLength;
  const uint8_t* options = nonce + kNonceLength;
  size_t aad_length = options[0], piece = options[1] | static_cast<size_t>(options[2]) << 8;
  const bool in_place = options[3] & 1;
  const uint8_t wrong_bit = options[3] >> 1;
  const uint8_t* rest = data + kHead;
  size -= kHead;
  if (aad_length > size) aad_length = size;
  const Bytes aad(rest, rest + aad_length), text(rest + aad_length, rest + size);
  if (piece > text.size()) piece = text.size();
  Bytes expected(text.size());
  uint8_t expected_tag[kTagLength];
  seal_by_openssl(raw, nonce, aad, text, expected, expected_tag);

  for (size_t i = 0; i < kernel_count(); i++) {
    const Kernel& kernel = kernel_at(i);
    if (kernel_fitness(kernel) != Fitness::works) continue;
    Key key;
    kernel.expand_key(key, raw);
    State state{};
    uint8_t tag[kTagLength];
    Bytes sealed = in_place ? text : Bytes(text.size());
    const uint8_t* from = in_place ? sealed.data() : text.data();
    kernel.start(key, state, nonce, aad.data(), aad.size());
    kernel.encrypt(key, state, from, piece, sealed.data());
    kernel.encrypt(key, state, from + piece, text.size() - piece, sealed.data() + piece);
    kernel.finish(key, state, tag);
    if (kernel.release != nullptr) kernel.release(state);
    must(sealed == expected, kernel.name, "other ciphertext than OpenSSL");
    must(std::memcmp(tag, expected_tag, kTagLength) == 0, kernel.name, "other tag than OpenSSL");

    for (const bool flipped : {false, true}) {
      if (flipped) tag[wrong_bit / 8 % kTagLength] ^= static_cast<uint8_t>(1u << wrong_bit % 8);
      Bytes opened = in_place ? sealed : Bytes(text.size());
      const uint8_t* source = in_place ? opened.data() : sealed.data();
      State second{};
      kernel.start(key, second, nonce, aad.data(), aad.size());
      kernel.decrypt(key, second, source, piece, opened.data());
      kernel.decrypt(key, second, source + piece, text.size() - piece, opened.data() + piece);
      must(opens(kernel, key, second, tag) == !flipped, kernel.name, flipped ? "took a wrong tag" : "refused a right tag");
      if (kernel.release != nullptr) kernel.release(second);
      must(opened == text, kernel.name, "other plaintext");
    }
  }
  return 0;
}
