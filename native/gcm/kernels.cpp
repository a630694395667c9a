#include "kernels.h"

#include <atomic>
#include <cstring>

#include "self_test.h"

namespace frameseal::gcm {
namespace {

const Kernel* const kKernels[] = {
#if defined(__x86_64__) || defined(_M_X64)
    &kVaes512, &kVaes256, &kAesni,
#elif defined(__aarch64__)
    &kArmv8,
#endif
    &kOpenssl};
constexpr size_t kCount = sizeof kKernels / sizeof kKernels[0];

}  // namespace

size_t kernel_count() noexcept { return kCount; }
const Kernel& kernel_at(size_t index) noexcept { return *kKernels[index]; }

const Kernel* find_kernel(const char* name) noexcept {
  for (const Kernel* kernel : kKernels)
    if (std::strcmp(kernel->name, name) == 0) return kernel;
  return nullptr;
}

Fitness kernel_fitness(const Kernel& kernel, const CpuFeatures& cpu) noexcept {
  if (!kernel.supported(cpu)) return Fitness::unsupported;
  static std::atomic<int> results[kCount];  // 0 not run, 1 passed, 2 failed; running it twice is no harm
  for (size_t i = 0; i < kCount; i++) {
    if (kKernels[i] != &kernel) continue;
    int result = results[i].load(std::memory_order_relaxed);
    if (result == 0) results[i].store(result = self_test(kernel) ? 1 : 2, std::memory_order_relaxed);
    return result == 1 ? Fitness::works : Fitness::failed_self_test;
  }
  return Fitness::unsupported;
}

const Kernel* best_kernel(const CpuFeatures& cpu) noexcept {
  for (const Kernel* kernel : kKernels)
    if ((!kernel->is_wide || cpu.prefers_512) && kernel_fitness(*kernel, cpu) == Fitness::works) return kernel;
  return nullptr;
}

}  // namespace frameseal::gcm
