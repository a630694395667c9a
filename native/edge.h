// The Node-API edge: reads and checks the arguments of one call. Raw Node-API instead of the C++ wrapper, because a
// call for 16 bytes has to stay in the low hundreds of nanoseconds.
#pragma once
#include <node_api.h>

#include <cstddef>
#include <cstdint>

namespace frameseal {

/** Memory that a view points to during one synchronous call. */
struct Bytes {
  uint8_t* data = nullptr;
  size_t length = 0;
};

/** True for a whole number from 0 to `max`, at most 2^53 - 1: only then may it be cast to an integer. */
inline bool is_integer(double number, uint64_t max) noexcept {
  return number >= 0 && number <= static_cast<double>(max) &&
         static_cast<double>(static_cast<uint64_t>(number)) == number;
}

/**
 * The arguments of one call. The first one that is not what was asked for leaves a TypeError pending, or what JavaScript threw
 * while it was read, and `ok()` false; everything read from then on is zero.
 */
class Arguments {
 public:
  static constexpr size_t kMaxCount = 10;

  Arguments(napi_env env, napi_callback_info info) noexcept : env_(env) {
    ok_ = napi_get_cb_info(env, info, &count_, values_, nullptr, &data_) == napi_ok;
  }
  bool ok() const noexcept { return ok_; }
  napi_env env() const noexcept { return env_; }
  /** What was given when the function was made. */
  template <typename T>
  T& data() const noexcept {
    return *static_cast<T*>(data_);
  }
  napi_value value(size_t index) const noexcept { return index < count_ ? values_[index] : nullptr; }

  /** A whole number from 0 to `max`, at most 2^53 - 1. */
  uint64_t integer(size_t index, uint64_t max) noexcept {
    double number = 0;
    if (!ok_ || index >= count_ || napi_get_value_double(env_, values_[index], &number) != napi_ok ||
        !is_integer(number, max)) {
      fail("expected a whole number");
      return 0;
    }
    return static_cast<uint64_t>(number);
  }
  uint32_t uint32(size_t index) noexcept { return static_cast<uint32_t>(integer(index, 0xffffffffu)); }
  /**
   * The same without the check: what is no such number is read as some other one. For handles, which are looked up, for
   * lengths that are compared with memory afterwards, and for counts of threads, which are only upper bounds.
   */
  uint32_t any_uint32(size_t index) noexcept {
    uint32_t number = 0;
    if (!ok_ || index >= count_ || napi_get_value_uint32(env_, values_[index], &number) != napi_ok) {
      fail("expected a whole number");
    }
    return number;
  }
  /** A whole number from 0 to `max`, or -1. */
  int64_t integer_or_none(size_t index, uint64_t max) noexcept {
    double number = 0;
    if (ok_ && index < count_ && napi_get_value_double(env_, values_[index], &number) == napi_ok && number == -1) return -1;
    return static_cast<int64_t>(integer(index, max));
  }
  /** A Uint8Array over an ArrayBuffer that is not shared. One that is detached or out of bounds has no bytes. */
  Bytes bytes(size_t index) noexcept { return index < count_ ? bytes_of(values_[index]) : bytes_of(nullptr); }
  Bytes bytes_of(napi_value value) noexcept {
    Bytes view;
    if (!ok_) return view;
    napi_typedarray_type type;
    napi_value buffer;
    void* data = nullptr;
    size_t length = 0;
    size_t offset = 0;
    bool is_ordinary = false;
    if (value == nullptr ||
        napi_get_typedarray_info(env_, value, &type, &length, &data, &buffer, &offset) != napi_ok ||
        type != napi_uint8_array || napi_is_arraybuffer(env_, buffer, &is_ordinary) != napi_ok || !is_ordinary) {
      fail("expected a Uint8Array over memory that is not shared");
      return view;
    }
    view.data = static_cast<uint8_t*>(data);
    view.length = length;
    return view;
  }
  Bytes bytes_of_length(size_t index, size_t length) noexcept {
    const Bytes view = bytes(index);
    if (ok_ && view.length != length) {
      fail("view has the wrong length");
      return Bytes{};
    }
    return view;
  }
  void fail(const char* message) noexcept {
    if (ok_) napi_throw_type_error(env_, nullptr, message);
    ok_ = false;
  }
  /** Throws an Error that says that our own code broke a promise. */
  void fail_internally(const char* message) noexcept {
    if (ok_) napi_throw_error(env_, nullptr, message);
    ok_ = false;
  }

 private:
  napi_env env_;
  napi_value values_[kMaxCount] = {};
  size_t count_ = kMaxCount;
  void* data_ = nullptr;
  bool ok_ = false;
};

inline napi_value number(napi_env env, double value) noexcept {
  napi_value result = nullptr;
  napi_create_double(env, value, &result);
  return result;
}

inline napi_value undefined(napi_env env) noexcept {
  napi_value result = nullptr;
  napi_get_undefined(env, &result);
  return result;
}

inline napi_value boolean(napi_env env, bool value) noexcept {
  napi_value result = nullptr;
  napi_get_boolean(env, value, &result);
  return result;
}

}  // namespace frameseal
