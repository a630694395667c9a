// SHA-2 over a long message on a thread of its own, beside the frames, and ECDSA over the result: with the OpenSSL that
// the running process carries, looked up when first asked for.
#pragma once
#include <node_api.h>

namespace frameseal {

/** startHash(bits: 256, 384 or 512) -> handle; 0 if this process has no such hash to offer, or there are too many */
napi_value start_hash(napi_env env, napi_callback_info info);
/** updateHash(hash, bytes): here and now. Nothing may be in work. */
napi_value update_hash(napi_env env, napi_callback_info info);
/**
 * updateHashAsync(hash, bytes) -> promise: on the hash's thread, in the order of the calls. The bytes are not copied:
 * nobody may change, detach or resize them before the promise is settled. Without a thread to be had, or with one core only, it is
 * done at once.
 */
napi_value update_hash_async(napi_env env, napi_callback_info info);
/** finishHash(hash, output of its length): the handle is void. Nothing may be in work. */
napi_value finish_hash(napi_env env, napi_callback_info info);
/** dropHash(hash): the handle is void; what is in work ends first. */
napi_value drop_hash(napi_env env, napi_callback_info info);
/** signDigest(ECPrivateKey in DER, digest, order of the curve, output for a DER signature of just its length) -> is done */
napi_value sign_digest(napi_env env, napi_callback_info info);
/** verifyDigest(SubjectPublicKeyInfo, digest, DER signature) -> is valid */
napi_value verify_digest(napi_env env, napi_callback_info info);

}  // namespace frameseal
