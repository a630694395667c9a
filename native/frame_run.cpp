#include "frame_run.h"

#include <algorithm>
#include <cstring>
#include <utility>

#include "scoped_state.h"
#include "secret.h"

namespace frameseal {
namespace {

constexpr uint32_t kFinalMarker = 0xffffffffu;

void store32(uint8_t* to, uint32_t value) noexcept {
  to[0] = static_cast<uint8_t>(value >> 24);
  to[1] = static_cast<uint8_t>(value >> 16);
  to[2] = static_cast<uint8_t>(value >> 8);
  to[3] = static_cast<uint8_t>(value);
}

uint32_t load32(const uint8_t* from) noexcept {
  return uint32_t{from[0]} << 24 | uint32_t{from[1]} << 16 | uint32_t{from[2]} << 8 | from[3];
}

void copy(uint8_t* to, const uint8_t* from, size_t length) noexcept {
  if (length != 0) std::memcpy(to, from, length);
}

}  // namespace

Aad::Aad(const FrameFormat& format, const Frame& frame) noexcept {
  const Chunk& prefix = frame.is_final ? format.final_prefix : format.regular_prefix;
  copy(bytes, prefix.data, prefix.length);
  store32(bytes + prefix.length, frame.sequence);
  store32(bytes + prefix.length + 4, 0);
  store32(bytes + prefix.length + 8, frame.length);
  length = prefix.length + 12;
}

const uint8_t* write_head(const Frame& frame, uint8_t* head) noexcept {
  if (frame.is_final) {
    store32(head, kFinalMarker);
    store32(head + 20, frame.length);
    head += 4;
  }
  store32(head, frame.sequence);
  std::memset(head + 4, 0, 8);
  store32(head + 12, frame.sequence);
  return head + 4;
}

const uint8_t* read_head(const Frame& frame, const uint8_t* head) noexcept {
  if (frame.is_final) {
    if (load32(head) != kFinalMarker || load32(head + 20) != frame.length) return nullptr;
    head += 4;
  }
  return load32(head) == frame.sequence ? head + 4 : nullptr;
}

ChunkList::ChunkList(std::vector<Chunk> chunks) : chunks_(std::move(chunks)) {
  size_t end = 0;
  ends_.reserve(chunks_.size());
  for (const Chunk& chunk : chunks_) ends_.push_back(end += chunk.length);
}

ChunkCursor ChunkList::at(size_t offset) const noexcept {
  const auto end = std::upper_bound(ends_.begin(), ends_.end(), offset);  // of the chunk that holds `offset`
  const size_t index = static_cast<size_t>(end - ends_.begin());
  const size_t start = index == 0 ? 0 : ends_[index - 1];
  return ChunkCursor(chunks_.data() + index, chunks_.size() - index, offset - start);
}

void ChunkCursor::skip_finished() noexcept {
  while (chunk_ != end_ && offset_ == chunk_->length) {
    chunk_++;
    offset_ = 0;
  }
}

Chunk ChunkCursor::next(size_t length) noexcept {
  skip_finished();
  const size_t rest = chunk_->length - offset_;
  const Chunk piece{chunk_->data + offset_, rest < length ? rest : length};
  offset_ += piece.length;
  return piece;
}

bool ChunkCursor::is_contiguous(size_t length) noexcept {
  skip_finished();
  return length == 0 || (chunk_ != end_ && chunk_->length - offset_ >= length);
}

void ChunkCursor::copy_to(uint8_t* target, size_t length) noexcept {
  while (length != 0) {
    const Chunk piece = next(length);
    std::memcpy(target, piece.data, piece.length);
    target += piece.length;
    length -= piece.length;
  }
}

bool FrameFormat::parse(const uint8_t* bytes, size_t length) noexcept {
  if (length < 8) return false;
  frame_length = load32(bytes);
  regular_prefix.length = size_t{bytes[4]} << 8 | bytes[5];
  final_prefix.length = size_t{bytes[6]} << 8 | bytes[7];
  regular_prefix.data = bytes + 8;
  final_prefix.data = regular_prefix.data + regular_prefix.length;
  return frame_length != 0 && regular_prefix.length <= kMaxAadPrefix && final_prefix.length <= kMaxAadPrefix &&
         length == 8 + regular_prefix.length + final_prefix.length;
}

bool Run::is_valid() const noexcept {
  const uint64_t last = uint64_t{first_sequence} + total();  // one behind the last sequence number
  const uint64_t longest = uint64_t{total()} * (uint64_t{frame_length} + kFinalHead + kTag);
  return frame_length != 0 && first_sequence != 0 && last <= uint64_t{1} << 32 && final_length >= -1 &&
         final_length <= int64_t{frame_length} && longest <= uint64_t{1} << 52;
}

size_t Run::plaintext_length() const noexcept {
  return size_t{frame_count} * frame_length + (final_length >= 0 ? static_cast<size_t>(final_length) : 0);
}

size_t Run::sealed_length() const noexcept {
  return plaintext_length() + frame_count * (kRegularHead + kTag) + (final_length >= 0 ? kFinalHead + kTag : 0);
}

Frame Run::frame(size_t index) const noexcept {
  const bool is_final = index == frame_count;
  return Frame{is_final, first_sequence + static_cast<uint32_t>(index),
               is_final ? static_cast<uint32_t>(final_length) : frame_length, index * frame_length,
               index * (size_t{frame_length} + kRegularHead + kTag)};
}

void seal_frame(const gcm::Key& key, const FrameFormat& format, const Frame& frame, ChunkCursor& plaintext,
                uint8_t* sealed) noexcept {
  uint8_t* const head = sealed + frame.sealed_at;
  const uint8_t* const nonce = write_head(frame, head);
  const Aad aad(format, frame);
  uint8_t* out = head + frame.head_length();
  if (plaintext.is_contiguous(frame.length)) {
    const Chunk piece = frame.length == 0 ? Chunk{nullptr, 0} : plaintext.next(frame.length);
    gcm::seal(key, nonce, aad.bytes, aad.length, piece.data, piece.length, out, out + frame.length);
    return;
  }
  ScopedState state;
  gcm::start(key, state, nonce, aad.bytes, aad.length);
  for (size_t rest = frame.length; rest != 0;) {
    const Chunk piece = plaintext.next(rest);
    gcm::encrypt_update(key, state, piece.data, piece.length, out);
    out += piece.length;
    rest -= piece.length;
  }
  gcm::finish(key, state, out);
}

bool open_frame(const gcm::Key& key, const FrameFormat& format, const Frame& frame, ChunkCursor& sealed,
                uint8_t* plaintext) noexcept {
  uint8_t* const text = plaintext + frame.plaintext_at;
  StoredFrame stored;
  sealed.copy_to(stored.head, frame.head_length());
  const uint8_t* const nonce = read_head(frame, stored.head);
  bool is_authentic = false;
  if (nonce != nullptr) {
    const Aad aad(format, frame);
    if (sealed.is_contiguous(frame.length)) {
      const Chunk piece = frame.length == 0 ? Chunk{nullptr, 0} : sealed.next(frame.length);
      sealed.copy_to(stored.tag, kTag);
      is_authentic = gcm::open(key, nonce, aad.bytes, aad.length, piece.data, piece.length, text, stored.tag);
    } else {
      ScopedState state;
      gcm::start(key, state, nonce, aad.bytes, aad.length);
      uint8_t* out = text;
      for (size_t rest = frame.length; rest != 0;) {
        const Chunk piece = sealed.next(rest);
        gcm::decrypt_update(key, state, piece.data, piece.length, out);
        out += piece.length;
        rest -= piece.length;
      }
      sealed.copy_to(stored.tag, kTag);
      is_authentic = gcm::finish_and_compare(key, state, stored.tag);
    }
  }
  if (!is_authentic) wipe(text, frame.length);
  return is_authentic;
}

void seal_run(const gcm::Key& key, const FrameFormat& format, const Run& run, ChunkCursor plaintext,
              uint8_t* sealed) noexcept {
  for (size_t index = 0; index < run.total(); index++) seal_frame(key, format, run.frame(index), plaintext, sealed);
}

size_t open_run(const gcm::Key& key, const FrameFormat& format, const Run& run, ChunkCursor sealed,
                uint8_t* plaintext) noexcept {
  for (size_t index = 0; index < run.total(); index++) {
    const Frame frame = run.frame(index);
    if (open_frame(key, format, frame, sealed, plaintext)) continue;
    wipe(plaintext + frame.plaintext_at, run.plaintext_length() - frame.plaintext_at);
    return index;
  }
  return run.total();
}

void scatter_plaintext(const Frame& frame, ChunkCursor& plaintext, uint8_t* sealed) noexcept {
  plaintext.copy_to(sealed + frame.sealed_at + frame.head_length(), frame.length);
}

void seal_in_place(const gcm::Key& key, const FrameFormat& format, const Frame& frame, uint8_t* sealed) noexcept {
  uint8_t* const head = sealed + frame.sealed_at;
  const uint8_t* const nonce = write_head(frame, head);
  const Aad aad(format, frame);
  uint8_t* const text = head + frame.head_length();
  gcm::seal(key, nonce, aad.bytes, aad.length, text, frame.length, text, text + frame.length);
}

void gather_ciphertext(const Frame& frame, ChunkCursor& sealed, uint8_t* plaintext, StoredFrame& stored) noexcept {
  sealed.copy_to(stored.head, frame.head_length());
  sealed.copy_to(plaintext + frame.plaintext_at, frame.length);
  sealed.copy_to(stored.tag, kTag);
}

bool open_in_place(const gcm::Key& key, const FrameFormat& format, const Frame& frame, const StoredFrame& stored,
                   uint8_t* plaintext) noexcept {
  uint8_t* const text = plaintext + frame.plaintext_at;
  const uint8_t* const nonce = read_head(frame, stored.head);
  if (nonce != nullptr) {
    const Aad aad(format, frame);
    if (gcm::open(key, nonce, aad.bytes, aad.length, text, frame.length, text, stored.tag)) return true;
  }
  wipe(text, frame.length);
  return false;
}

}  // namespace frameseal
