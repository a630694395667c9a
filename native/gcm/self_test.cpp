#include "self_test.h"

#include <cstring>

namespace frameseal::gcm {
namespace {

// Made with OpenSSL 3.0: key byte i = 11·i + 1, nonce byte i = 5·i + 2, AAD byte i = 3·i + 7 (length mod 77 of them),
// text byte i = 7·i + (i >> 8) + 3.
struct KnownAnswer {
  size_t length;
  uint8_t tag[kTagLength];
};
constexpr KnownAnswer kAnswers[] = {
    {0, {0x95, 0x19, 0x65, 0x41, 0x3a, 0xdf, 0x73, 0xc3, 0x33, 0x79, 0x6d, 0x7f, 0x00, 0xbf, 0x71, 0x76}},
    {5, {0x71, 0x53, 0xe9, 0xaa, 0xf7, 0x6f, 0x89, 0xe6, 0x20, 0x43, 0x71, 0x84, 0xee, 0xd5, 0xc0, 0xac}},
    {16, {0xcf, 0x9f, 0xb7, 0xeb, 0x1a, 0xa7, 0x6c, 0xf0, 0xc1, 0x83, 0x6b, 0x85, 0xb9, 0x94, 0xcd, 0x27}},
    {300, {0x28, 0xd1, 0xd0, 0x97, 0xa2, 0xa9, 0x77, 0xdb, 0xd8, 0x0e, 0xa8, 0xf6, 0x40, 0x9d, 0x2a, 0x02}},
    {1024, {0x00, 0xec, 0x28, 0x39, 0x03, 0x6f, 0xa4, 0x86, 0x1a, 0x13, 0x8a, 0x81, 0xf1, 0xd1, 0x65, 0xd5}},
    {4141, {0x39, 0x2d, 0xba, 0x2d, 0xe8, 0xed, 0xdf, 0xc2, 0x68, 0x7d, 0x99, 0xdf, 0x27, 0xb4, 0xd5, 0xee}},
    // Long enough for what kernels do only in long texts.
    {20517, {0xd7, 0x31, 0x4f, 0xcc, 0xf6, 0x05, 0xa0, 0x39, 0xcf, 0xa3, 0x0c, 0xbd, 0x11, 0xa3, 0x25, 0x80}},
};
constexpr size_t kMaxLength = 20517;

}  // namespace

bool self_test(const Kernel& kernel) noexcept {
  uint8_t raw[kKeyLength], nonce[kNonceLength], aad[77];
  for (size_t i = 0; i < sizeof raw; i++) raw[i] = static_cast<uint8_t>(11 * i + 1);
  for (size_t i = 0; i < sizeof nonce; i++) nonce[i] = static_cast<uint8_t>(5 * i + 2);
  for (size_t i = 0; i < sizeof aad; i++) aad[i] = static_cast<uint8_t>(3 * i + 7);
  uint8_t text[kMaxLength], sealed[kMaxLength], opened[kMaxLength], tag[kTagLength];
  for (size_t i = 0; i < kMaxLength; i++) text[i] = static_cast<uint8_t>(7 * i + (i >> 8) + 3);

  Key key;
  key_init(key, kernel, raw);
  bool passed = true;
  for (const KnownAnswer& answer : kAnswers) {
    const size_t aad_length = answer.length % 77;
    seal(key, nonce, aad, aad_length, text, answer.length, sealed, tag);
    passed = passed && std::memcmp(tag, answer.tag, kTagLength) == 0;
    passed = passed && open(key, nonce, aad, aad_length, sealed, answer.length, opened, tag);
    passed = passed && std::memcmp(opened, text, answer.length) == 0;
    tag[answer.length % kTagLength] ^= 1;
    passed = passed && !open(key, nonce, aad, aad_length, sealed, answer.length, opened, tag);
  }
  key_wipe(key);
  return passed;
}

}  // namespace frameseal::gcm
