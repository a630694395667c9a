// AES-GCM of the OpenSSL that the running process carries: for CPUs without a kernel of ours, and as a second opinion.
// Symbols are looked up when first asked for, since a process may export none (distributions build Node with a shared
// library, Electron and Bun carry another one); then this kernel is not supported.
#include <cstdlib>
#include <cstring>

#include "kernel.h"
#include "process_symbol.h"

namespace frameseal::gcm {
namespace {

struct Evp {
  void* (*ctx_new)();
  void (*ctx_free)(void*);
  const void* (*aes_256_gcm)();
  int (*init)(void*, const void*, void*, const uint8_t*, const uint8_t*, int);
  int (*update)(void*, uint8_t*, int*, const uint8_t*, int);
  int (*final)(void*, uint8_t*, int*);
  int (*ctrl)(void*, int, int, void*);
  bool complete;
};

constexpr int kCtrlGetTag = 0x10;
constexpr int kCtrlSetTag = 0x11;
constexpr size_t kMaxCall = size_t{1} << 30;

const Evp& evp() noexcept {
  static const Evp functions = [] {
    Evp f{};
    f.complete = look_up(f.ctx_new, "EVP_CIPHER_CTX_new") && look_up(f.ctx_free, "EVP_CIPHER_CTX_free") &&
                 look_up(f.aes_256_gcm, "EVP_aes_256_gcm") && look_up(f.init, "EVP_CipherInit_ex") &&
                 look_up(f.update, "EVP_CipherUpdate") && look_up(f.final, "EVP_CipherFinal_ex") &&
                 look_up(f.ctrl, "EVP_CIPHER_CTX_ctrl");
    return f;
  }();
  return functions;
}

bool evp_supported(const CpuFeatures&) noexcept { return evp().complete; }

void evp_expand_key(Key& key, const uint8_t raw[kKeyLength]) noexcept { std::memcpy(key.round_keys, raw, kKeyLength); }

// Failing calls would mean an exhausted heap or another library under the same names: nothing can be sealed then.
void require(bool ok) noexcept {
  if (!ok) std::abort();
}

void feed(void* context, const uint8_t* in, size_t length, uint8_t* out) noexcept {
  for (size_t at = 0; at < length;) {
    const size_t part = length - at < kMaxCall ? length - at : kMaxCall;
    int written = 0;
    require(evp().update(context, out == nullptr ? nullptr : out + at, &written, in + at, static_cast<int>(part)) == 1);
    at += part;
  }
}

// Until text comes the direction is not known: the context seals, and `partial` says so. To open, it is set up again,
// for which the AAD is hashed again: so `start` gives it to both directions at once, in two contexts.
struct Pair {
  void* sealing;
  void* opening;
};

void evp_start(const Key& key, State& state, const uint8_t nonce[kNonceLength], const uint8_t* aad, size_t length) noexcept {
  std::memset(&state, 0, sizeof state);
  auto* pair = static_cast<Pair*>(std::calloc(1, sizeof(Pair)));
  require(pair != nullptr);
  for (int sealing = 0; sealing < 2; sealing++) {
    void* context = evp().ctx_new();
    require(context != nullptr &&
            evp().init(context, evp().aes_256_gcm(), nullptr, key.round_keys, nonce, sealing) == 1);
    feed(context, aad, length, nullptr);
    (sealing ? pair->sealing : pair->opening) = context;
  }
  state.context = pair;
}

Pair& contexts(State& state) noexcept { return *static_cast<Pair*>(state.context); }

void evp_encrypt(const Key&, State& state, const uint8_t* in, size_t length, uint8_t* out) noexcept {
  feed(contexts(state).sealing, in, length, out);
}

void evp_decrypt(const Key&, State& state, const uint8_t* in, size_t length, uint8_t* out) noexcept {
  feed(contexts(state).opening, in, length, out);
}

void evp_finish(const Key&, State& state, uint8_t tag[kTagLength]) noexcept {
  uint8_t none[16];
  int written = 0;
  void* context = contexts(state).sealing;
  require(evp().final(context, none, &written) == 1 && evp().ctrl(context, kCtrlGetTag, kTagLength, tag) == 1);
}

bool evp_verify(const Key&, State& state, const uint8_t tag[kTagLength]) noexcept {
  uint8_t expected[kTagLength];
  std::memcpy(expected, tag, kTagLength);
  uint8_t none[16];
  int written = 0;
  void* context = contexts(state).opening;
  require(evp().ctrl(context, kCtrlSetTag, kTagLength, expected) == 1);
  return evp().final(context, none, &written) == 1;  // compares in constant time
}

void evp_release(State& state) noexcept {
  evp().ctx_free(contexts(state).sealing);
  evp().ctx_free(contexts(state).opening);
  std::free(state.context);
  state.context = nullptr;
}

}  // namespace

extern const Kernel kOpenssl = {"openssl",  evp_supported, evp_expand_key, evp_start, evp_encrypt, evp_decrypt,
                                evp_finish, evp_verify,    nullptr,        nullptr,   evp_release};

}  // namespace frameseal::gcm
