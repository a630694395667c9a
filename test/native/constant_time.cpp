// Run under valgrind: secrets are marked undefined, so that every branch and every address that depends on one is
// reported (Langley's ctgrind). Usage: constant_time [leaky-branch | leaky-address]: deliberate leaks, to see that they
// would be found.
#include <valgrind/memcheck.h>

#include <cstdio>
#include <cstring>
#include <vector>

#include "gcm/kernels.h"

using namespace frameseal::gcm;

namespace {

template <class T> void secret(const T& object) { VALGRIND_MAKE_MEM_UNDEFINED(&object, sizeof object); }
void secret(std::vector<uint8_t>& bytes) { VALGRIND_MAKE_MEM_UNDEFINED(bytes.data(), bytes.size()); }
void release(std::vector<uint8_t>& bytes) { VALGRIND_MAKE_MEM_DEFINED(bytes.data(), bytes.size()); }

volatile int sink;

void leak(const char* how) {
  static const uint8_t table[256] = {1, 2, 3};
  volatile uint8_t key = 7;
  VALGRIND_MAKE_MEM_UNDEFINED(const_cast<uint8_t*>(&key), 1);
  if (std::strcmp(how, "leaky-branch") == 0) {
    if (key & 1) sink = 1;
  } else {
    sink = table[key];
  }
}

size_t check(const Kernel& kernel, size_t length) {
  uint8_t raw[kKeyLength];
  for (size_t i = 0; i < sizeof raw; i++) raw[i] = static_cast<uint8_t>(i * 7 + 1);
  secret(raw);
  Key key;
  kernel.expand_key(key, raw);
  const uint8_t nonce[kNonceLength] = {1, 2, 3};
  const uint8_t aad[20] = {4, 5, 6};
  std::vector<uint8_t> plaintext(length, 0x5a), ciphertext(length), opened(length);
  secret(plaintext);
  State state;
  uint8_t tag[kTagLength];
  kernel.start(key, state, nonce, aad, sizeof aad);
  const size_t half = length / 2;
  kernel.encrypt(key, state, plaintext.data(), half, ciphertext.data());
  kernel.encrypt(key, state, plaintext.data() + half, length - half, ciphertext.data() + half);
  kernel.finish(key, state, tag);
  release(ciphertext);  // what is sent is public; tags are only compared
  kernel.start(key, state, nonce, aad, sizeof aad);
  kernel.decrypt(key, state, ciphertext.data(), length, opened.data());
  uint8_t again[kTagLength];
  kernel.finish(key, state, again);
  uint8_t difference = 0;
  for (size_t i = 0; i < kTagLength; i++) difference |= static_cast<uint8_t>(tag[i] ^ again[i]);
  for (size_t i = 0; i < length; i++) difference |= static_cast<uint8_t>(plaintext[i] ^ opened[i]);
  VALGRIND_MAKE_MEM_DEFINED(&difference, 1);  // accepted or refused is public
  if (difference != 0) {
    std::printf("%s: wrong at %zu bytes\n", kernel.name, length);
    return 1;
  }
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc > 1) {
    leak(argv[1]);
    return 0;
  }
  size_t wrong = 0, count = 0;
  for (size_t length = 0; length <= 2100; length += length < 300 ? 1 : 37, count++) wrong += check(kAesni, length);
  for (const size_t length : {size_t{65536}, size_t{65537}, size_t{70000}}) wrong += check(kAesni, length), count++;
  std::printf("aesni: %zu lengths, %zu wrong\n", count, wrong);
  return wrong == 0 ? 0 : 1;
}
