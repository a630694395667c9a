// What the CPU and the operating system offer, and when it is worth using.
#pragma once
#include <cstddef>

namespace frameseal::gcm {

struct CpuFeatures {
  bool ssse3 = false, sse41 = false, aes = false, pclmulqdq = false;
  bool avx2 = false, vaes = false, vpclmulqdq = false;
  /** F, BW, DQ and VL, with the operating system saving the registers. */
  bool avx512 = false;
  /** 512-bit registers do not slow the core's clock. */
  bool prefers_512 = false;
  /** ARMv8. */
  bool pmull = false;
};

/** Detects once. */
const CpuFeatures& cpu_features() noexcept;

/** Removes what cannot be: a hypervisor may mask AES-NI but leave VAES visible. */
CpuFeatures consistent(CpuFeatures cpu) noexcept;

/** Names of the features that are there; returns how many of `names` were filled. */
size_t feature_names(const CpuFeatures& cpu, const char** names, size_t capacity) noexcept;

}  // namespace frameseal::gcm
