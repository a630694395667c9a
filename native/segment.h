// Parts of one GCM message, sealed and opened apart from each other.
#pragma once
#include <node_api.h>

namespace frameseal {

/** sealSegment(key, nonce, firstBlock, chunks, output, GHASH of 16 bytes, threads): on that many threads at most */
napi_value seal_segment(napi_env env, napi_callback_info info);
/** openSegment(key, nonce, firstBlock, chunks, output, GHASH of 16 bytes, threads): the output is not verified */
napi_value open_segment(napi_env env, napi_callback_info info);

}  // namespace frameseal
