// The table of one kernel. Key and state layouts are shared; what is in `round_keys` and `powers` is the kernel's own.
#pragma once
#include "cpu.h"
#include "gcm.h"

namespace frameseal::gcm {

struct Kernel {
  const char* name;
  /** Whether this CPU, or process, can run it. */
  bool (*supported)(const CpuFeatures&) noexcept;
  void (*expand_key)(Key&, const uint8_t raw[kKeyLength]) noexcept;
  void (*start)(const Key&, State&, const uint8_t nonce[kNonceLength], const uint8_t* aad, size_t) noexcept;
  void (*encrypt)(const Key&, State&, const uint8_t* in, size_t, uint8_t* out) noexcept;
  void (*decrypt)(const Key&, State&, const uint8_t* in, size_t, uint8_t* out) noexcept;
  void (*finish)(const Key&, State&, uint8_t tag[kTagLength]) noexcept;
  /** Compares the tag in constant time; null if `finish` can be used for that. */
  bool (*verify)(const Key&, State&, const uint8_t tag[kTagLength]) noexcept;
  /** value · H^blocks; null if the kernel cannot work on segments. */
  void (*multiply)(const Key&, uint8_t value[16], uint64_t blocks) noexcept;
  /** Hashes the block in progress, padded with zeros; null like `multiply`. */
  void (*flush)(const Key&, State&) noexcept;
  /** Frees `State::context`; null if there is none. */
  void (*release)(State&) noexcept;
  /** Uses 512-bit registers: taken by itself only where they do not slow the clock, by name anywhere. */
  bool is_wide = false;
};

extern const Kernel kVaes512;
extern const Kernel kVaes256;
extern const Kernel kAesni;
extern const Kernel kArmv8;
extern const Kernel kOpenssl;

}  // namespace frameseal::gcm
