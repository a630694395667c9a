// Known answers for one kernel.
#pragma once
#include "kernel.h"

namespace frameseal::gcm {

/** Seals, opens and refuses known messages, long enough for every loop of the kernel. Takes some ten microseconds. */
bool self_test(const Kernel& kernel) noexcept;

}  // namespace frameseal::gcm
