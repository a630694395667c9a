// The same work shared with Node's worker threads. What they work on is copied once, on the JavaScript thread, to where
// the result will stand; from then on the work is done in place on memory that no JavaScript can reach until the promise
// is resolved.
#pragma once
#include <node_api.h>

namespace frameseal {

/** sealFramesAsync(key, format, chunks, output, firstSequence, frameCount, finalLength) -> promise */
napi_value seal_frames_async(napi_env env, napi_callback_info info);
/** openFramesAsync(key, format, chunks, output, firstSequence, frameCount, finalLength) -> promise of a frame count */
napi_value open_frames_async(napi_env env, napi_callback_info info);
/** sealSegment(key, nonce, firstBlock, chunks, output, GHASH of 16 bytes); the Async ones return a promise */
napi_value seal_segment(napi_env env, napi_callback_info info);
napi_value open_segment(napi_env env, napi_callback_info info);
napi_value seal_segment_async(napi_env env, napi_callback_info info);
napi_value open_segment_async(napi_env env, napi_callback_info info);

}  // namespace frameseal
