// A Pump on threads of its own, as JavaScript sees it. Not on Node's pool: a pipe may make a thread wait for hours.
#pragma once
#include <node_api.h>

namespace frameseal {

/**
 * startPump(key, format, head, numbers, onDone) -> handle. `numbers` are the bytes of nine float64: direction (0 seals,
 * 1 opens), input, output or -1, where to read or -1, where to write or -1, length to reserve or 0, most plaintext
 * bytes, highest frame number, number of threads. `head` is copied. Calls onDone(status, error number, frames, bytes
 * read, bytes written, bytes of plaintext) once. The handle is 0, and nothing has been read, written or will be called,
 * if the system has no thread for it; with some of them it goes on.
 */
napi_value start_pump(napi_env env, napi_callback_info info);
/** pumpReadLength(handle) -> bytes of input so far; 0 when it is done */
napi_value pump_read_length(napi_env env, napi_callback_info info);
/** cancelPump(handle): makes it end soon; harmless when it has. */
napi_value cancel_pump(napi_env env, napi_callback_info info);

}  // namespace frameseal
