// What an object must do before its environment goes down: called once at the latest then, and never after the object.
#pragma once
#include <node_api.h>

namespace frameseal {

/** A clean-up hook of one environment, or none yet. All methods are for the JavaScript thread. */
class CleanUpHook {
 public:
  using Run = void (*)(void* owner) noexcept;

  CleanUpHook() = default;
  CleanUpHook(const CleanUpHook&) = delete;
  CleanUpHook& operator=(const CleanUpHook&) = delete;
  ~CleanUpHook() { remove(); }

  /** Has `run(owner)` called when the environment goes down, before the hooks that were added earlier. Once at a time. */
  bool add(napi_env env, Run run, void* owner) noexcept {
    if (env_ != nullptr || napi_add_env_cleanup_hook(env, call, this) != napi_ok) return false;
    env_ = env;
    run_ = run;
    owner_ = owner;
    return true;
  }
  /** From here on nothing is called. Harmless without a hook, and after it has been called. */
  void remove() noexcept {
    if (env_ != nullptr) napi_remove_env_cleanup_hook(env_, call, this);
    env_ = nullptr;
  }

 private:
  static void call(void* self) {
    auto* const hook = static_cast<CleanUpHook*>(self);
    hook->env_ = nullptr;  // the environment takes it out by itself
    hook->run_(hook->owner_);  // which may be the end of this object
  }

  napi_env env_ = nullptr;
  Run run_ = nullptr;
  void* owner_ = nullptr;
};

}  // namespace frameseal
