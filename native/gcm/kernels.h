// The list of kernels, and which of them work here.
#pragma once
#include "kernel.h"

namespace frameseal::gcm {

/** How many kernels were compiled in. */
size_t kernel_count() noexcept;
/** The kernels, best first. */
const Kernel& kernel_at(size_t index) noexcept;
/** By name; null if there is none. */
const Kernel* find_kernel(const char* name) noexcept;

enum class Fitness { works, unsupported, failed_self_test };
/** Whether a kernel can be used with these features. Its self-test runs once a process. */
Fitness kernel_fitness(const Kernel& kernel, const CpuFeatures& cpu = cpu_features()) noexcept;
/** The best kernel that works with these features; null if none does. */
const Kernel* best_kernel(const CpuFeatures& cpu = cpu_features()) noexcept;

}  // namespace frameseal::gcm
