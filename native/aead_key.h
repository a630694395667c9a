// Keys as JavaScript sees them, and everything that is done with them synchronously.
#pragma once
#include <node_api.h>

namespace frameseal {

/** createKey(rawKey of 32 bytes, index of the kernel in `kernels()`) -> handle */
napi_value create_key(napi_env env, napi_callback_info info);
/** disposeKey(key): the handle is void; the key is wiped as soon as no work in progress needs it. */
napi_value dispose_key(napi_env env, napi_callback_info info);

/** seal(key, nonce, aad, plaintext, output of plaintext.length + 16) */
napi_value seal(napi_env env, napi_callback_info info);
/** open(key, nonce, aad, sealed, output of sealed.length - 16) -> is authentic; if not, output is zeroed */
napi_value open(napi_env env, napi_callback_info info);
/**
 * setScratch(scratch): memory for small messages, which the caller never detaches or resizes: its address is kept. Copying a few bytes in JavaScript is
 * cheaper than asking Node-API for the addresses of four views.
 */
napi_value set_scratch(napi_env env, napi_callback_info info);
/**
 * sealSmall(key, aadLength, plaintextLength): the scratch holds nonce, AAD, plaintext, one behind the other, and has
 * room for the tag; the plaintext is replaced by ciphertext ‖ tag.
 */
napi_value seal_small(napi_env env, napi_callback_info info);
/** openSmall(key, aadLength, sealedLength) -> is authentic; the plaintext stands where `sealed` began */
napi_value open_small(napi_env env, napi_callback_info info);

/** sealFrames(key, format, chunks, output, firstSequence, frameCount, finalLength or -1, threads at most) */
napi_value seal_frames(napi_env env, napi_callback_info info);
/** openFrames(as sealFrames) -> number of verified frames; the rest of the run's length in output is zeroed */
napi_value open_frames(napi_env env, napi_callback_info info);

/** startMessage(key, nonce, aad) -> handle */
napi_value start_message(napi_env env, napi_callback_info info);
/** sealUpdate(message, plaintext, output of the same length) */
napi_value seal_update(napi_env env, napi_callback_info info);
/** openUpdate(message, ciphertext, output of the same length) */
napi_value open_update(napi_env env, napi_callback_info info);
/** finishSeal(message, output of 16 bytes): writes the tag; the handle is void. */
napi_value finish_seal(napi_env env, napi_callback_info info);
/** finishOpen(message, tag) -> is authentic; the handle is void. */
napi_value finish_open(napi_env env, napi_callback_info info);
/** dropMessage(message): wipes a message that nobody will finish. */
napi_value drop_message(napi_env env, napi_callback_info info);

/** finishSegments(key, nonce, aad, GHASH values of 16 bytes each, their lengths as float64 bytes, output of 16 bytes) */
napi_value finish_segments(napi_env env, napi_callback_info info);

}  // namespace frameseal
