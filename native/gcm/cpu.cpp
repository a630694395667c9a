#include "cpu.h"

#include <cstdint>

#if defined(__x86_64__) || defined(_M_X64)
#include <cpuid.h>
#elif defined(__aarch64__) && defined(__linux__)
#include <sys/auxv.h>
#endif

namespace frameseal::gcm {
namespace {

#if defined(__x86_64__) || defined(_M_X64)
uint64_t read_xcr0() noexcept {
  uint32_t low, high;
  __asm__ volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
  return uint64_t{high} << 32 | low;
}

CpuFeatures detect() noexcept {
  CpuFeatures cpu;
  uint32_t a, b, c, d;
  if (!__get_cpuid(0, &a, &b, &c, &d)) return cpu;
  const uint32_t max_leaf = a;
  const bool is_intel = b == 0x756e6547;  // "Genu"
  if (!__get_cpuid(1, &a, &b, &c, &d)) return cpu;
  const uint32_t family = (a >> 8 & 0xf) + (a >> 20 & 0xff);
  const uint32_t model = (a >> 4 & 0xf) | (a >> 12 & 0xf0);
  cpu.pclmulqdq = c & 1u << 1;
  cpu.ssse3 = c & 1u << 9;
  cpu.sse41 = c & 1u << 19;
  cpu.aes = c & 1u << 25;
  const bool osxsave = c & 1u << 27;
  const uint64_t xcr0 = osxsave ? read_xcr0() : 0;
  const bool saves_ymm = (xcr0 & 0x06) == 0x06;
  const bool saves_zmm = (xcr0 & 0xe6) == 0xe6;
  if (max_leaf < 7 || !__get_cpuid_count(7, 0, &a, &b, &c, &d)) return cpu;
  cpu.avx2 = saves_ymm && (b & 1u << 5);
  cpu.vaes = saves_ymm && (c & 1u << 9);
  cpu.vpclmulqdq = saves_ymm && (c & 1u << 10);
  const uint32_t wanted = 1u << 16 | 1u << 17 | 1u << 30 | 1u << 31;  // F, DQ, BW, VL
  cpu.avx512 = saves_zmm && (b & wanted) == wanted;
  // Intel's first AVX-512 cores with VAES (Ice Lake and Tiger Lake clients, Rocket Lake) lower their clock for 512-bit
  // work more than it gains; Linux and BoringSSL draw the same line. Servers (Ice Lake-SP on) and AMD are fine. A
  // hypervisor may report an old model on a new core: those have FP16, which begins with Sapphire Rapids.
  const bool has_fp16 = d & 1u << 23;
  const bool throttles = is_intel && family == 6 && !has_fp16 &&
                         (model == 0x55 || model == 0x7d || model == 0x7e || model == 0x8c || model == 0x8d || model == 0xa7);
  cpu.prefers_512 = cpu.avx512 && !throttles;
  return cpu;
}
#elif defined(__aarch64__)
CpuFeatures detect() noexcept {
  CpuFeatures cpu;
#if defined(__linux__)
  const unsigned long caps = getauxval(AT_HWCAP);
  cpu.aes = caps & 1ul << 3;
  cpu.pmull = caps & 1ul << 4;
#elif defined(__APPLE__)
  cpu.aes = cpu.pmull = true;
#endif
  return cpu;
}
#else
CpuFeatures detect() noexcept { return {}; }
#endif

}  // namespace

CpuFeatures consistent(CpuFeatures cpu) noexcept {
  if (!cpu.aes || !cpu.avx2) cpu.vaes = false;
  if (!cpu.pclmulqdq || !cpu.avx2) cpu.vpclmulqdq = false;
  if (!cpu.avx2) cpu.avx512 = false;
  if (!cpu.avx512) cpu.prefers_512 = false;
  return cpu;
}

const CpuFeatures& cpu_features() noexcept {
  static const CpuFeatures features = consistent(detect());
  return features;
}

size_t feature_names(const CpuFeatures& cpu, const char** names, size_t capacity) noexcept {
  const struct {
    bool present;
    const char* name;
  } all[] = {{cpu.aes, "aes"},   {cpu.pclmulqdq, "pclmulqdq"},   {cpu.pmull, "pmull"},   {cpu.avx2, "avx2"},
             {cpu.vaes, "vaes"}, {cpu.vpclmulqdq, "vpclmulqdq"}, {cpu.avx512, "avx512"}};
  size_t count = 0;
  for (const auto& feature : all)
    if (feature.present && count < capacity) names[count++] = feature.name;
  return count;
}

}  // namespace frameseal::gcm
