// A lock on an open file, by which other processes see that somebody still works on it.
#pragma once
#include <node_api.h>

namespace frameseal {

/**
 * lockFile(descriptor) -> 0: locked, until every descriptor of this open file is closed, also by a kill; 1: somebody else
 * holds the lock; 2: this file system may show locks to some of those who see the file, but not to all
 */
napi_value lock_file(napi_env env, napi_callback_info info);

}  // namespace frameseal
