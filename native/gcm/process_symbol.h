// Functions of the library that the running process carries, by name. A process may export none: distributions build
// Node with a shared library, Electron and Bun carry another one.
#pragma once
#include <cstring>

#if !defined(_WIN32)
#include <dlfcn.h>
#endif

namespace frameseal {

/** Points `function` at the symbol `name`; false if there is none. */
template <typename F>
bool look_up(F& function, const char* name) noexcept {
#if defined(_WIN32)
  (void)name;
  function = nullptr;
#else
  void* symbol = dlsym(RTLD_DEFAULT, name);
  std::memcpy(&function, &symbol, sizeof symbol);
#endif
  return function != nullptr;
}

}  // namespace frameseal
