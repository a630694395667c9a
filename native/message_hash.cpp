#include "message_hash.h"

#include <memory>

#include "edge.h"
#include "environment.h"
#include "hash_thread.h"

namespace frameseal {
namespace {

std::shared_ptr<HashThread> find(Arguments& args) noexcept {
  const uint32_t handle = args.uint32(0);
  if (!args.ok()) return nullptr;
  std::shared_ptr<HashThread> hash = args.data<Environment>().hashes.find(handle);
  if (hash == nullptr) args.fail_internally("internal error: hash has been finished");
  return hash;
}

}  // namespace

napi_value start_hash(napi_env env, napi_callback_info info) {
  Arguments args(env, info);
  const uint32_t bits = args.uint32(0);
  if (!args.ok()) return nullptr;
  Environment& environment = args.data<Environment>();
  auto hash = std::make_shared<HashThread>();
  if (!hash->digest.start(bits)) return number(env, 0);
  return number(env, environment.hashes.add(std::move(hash)));
}

napi_value update_hash(napi_env env, napi_callback_info info) {
  Arguments args(env, info);
  const std::shared_ptr<HashThread> hash = find(args);
  const Bytes bytes = args.bytes(1);
  if (!args.ok()) return nullptr;
  if (!hash->is_idle()) {
    args.fail_internally("internal error: hash is in work");
    return nullptr;
  }
  hash->digest.update(bytes.data, bytes.length);
  return nullptr;
}

napi_value update_hash_async(napi_env env, napi_callback_info info) {
  Arguments args(env, info);
  const std::shared_ptr<HashThread> hash = find(args);
  const Bytes bytes = args.bytes(1);
  if (!args.ok()) return nullptr;
  return hash->add(env, args.value(1), bytes);
}

napi_value finish_hash(napi_env env, napi_callback_info info) {
  Arguments args(env, info);
  const std::shared_ptr<HashThread> hash = find(args);
  if (!args.ok()) return nullptr;
  const Bytes output = args.bytes_of_length(1, hash->digest.length());
  if (!args.ok()) return nullptr;
  if (!hash->is_idle()) {
    args.fail_internally("internal error: hash is in work");
    return nullptr;
  }
  hash->digest.finish(output.data);
  hash->end();
  args.data<Environment>().hashes.remove(args.uint32(0));
  return nullptr;
}

napi_value drop_hash(napi_env env, napi_callback_info info) {
  Arguments args(env, info);
  const std::shared_ptr<HashThread> hash = find(args);
  if (!args.ok()) return nullptr;
  hash->end();
  args.data<Environment>().hashes.remove(args.uint32(0));
  return nullptr;
}

napi_value sign_digest(napi_env env, napi_callback_info info) {
  Arguments args(env, info);
  const Bytes key = args.bytes(0);
  const Bytes digest = args.bytes(1);
  const Bytes order = args.bytes(2);
  const Bytes signature = args.bytes(3);
  if (!args.ok()) return nullptr;
  return boolean(env, sign_digest({key.data, key.length}, {digest.data, digest.length}, {order.data, order.length},
                                  signature.data, signature.length));
}

napi_value verify_digest(napi_env env, napi_callback_info info) {
  Arguments args(env, info);
  const Bytes key = args.bytes(0);
  const Bytes digest = args.bytes(1);
  const Bytes signature = args.bytes(2);
  if (!args.ok()) return nullptr;
  return boolean(env, verify_digest(key.data, key.length, digest.data, digest.length, signature.data,
                                    signature.length));
}

}  // namespace frameseal
