// A message in progress that is wiped when it goes out of scope.
#pragma once
#include "gcm/gcm.h"

namespace frameseal {

struct ScopedState : gcm::State {
  ScopedState() noexcept : gcm::State{} {}
  ScopedState(const ScopedState&) = delete;
  ScopedState& operator=(const ScopedState&) = delete;
  ~ScopedState() { gcm::state_wipe(*this); }
};

}  // namespace frameseal
