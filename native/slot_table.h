// Objects that JavaScript names by number. A number can be checked completely, costs nothing to pass and, unlike an
// external pointer, cannot be confused with a pointer of another kind or reach memory of an object that is gone. The number
// of one that is gone names another only when its slot has been used 4,095 times more.
#pragma once
#include <cstddef>
#include <cstdint>
#include <memory>
#include <utility>
#include <vector>

namespace frameseal {

/** Shares objects of type T. A handle is 20 bits of index and 12 of generation; 0 is never a handle. */
template <typename T>
class SlotTable {
 public:
  /** Takes an object; returns 0 if there are too many. */
  uint32_t add(std::shared_ptr<T> object) {
    uint32_t index;
    if (!free_.empty()) {
      index = free_.back();
      free_.pop_back();
    } else {
      if (slots_.size() > kIndexMask) return 0;
      index = static_cast<uint32_t>(slots_.size());
      slots_.push_back(Slot{nullptr, 1});
    }
    slots_[index].object = std::move(object);
    return slots_[index].generation << kIndexBits | index;
  }
  /** The object, or null if the handle is none of ours or its object has been removed. */
  const std::shared_ptr<T>& find(uint32_t handle) const noexcept {
    static const std::shared_ptr<T> none;
    const uint32_t index = handle & kIndexMask;
    if (index >= slots_.size() || slots_[index].generation != handle >> kIndexBits) return none;
    return slots_[index].object;
  }
  /** Lets go of the object; the handle is void from now on. */
  bool remove(uint32_t handle) {
    if (find(handle) == nullptr) return false;
    const uint32_t index = handle & kIndexMask;
    Slot& slot = slots_[index];
    slot.object.reset();
    slot.generation = slot.generation == kLastGeneration ? 1 : slot.generation + 1;
    free_.push_back(index);
    return true;
  }

 private:
  static constexpr uint32_t kIndexBits = 20;
  static constexpr uint32_t kIndexMask = (1u << kIndexBits) - 1;
  static constexpr uint32_t kLastGeneration = (1u << (32 - kIndexBits)) - 1;
  struct Slot {
    std::shared_ptr<T> object;
    uint32_t generation;
  };
  std::vector<Slot> slots_;
  std::vector<uint32_t> free_;
};

}  // namespace frameseal
