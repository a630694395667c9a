// A run of frames of one message: where each frame lies in plaintext and on the wire, and how it is sealed and opened.
// Plain C++; knows nothing of Node.
#pragma once
#include <cstddef>
#include <cstdint>
#include <vector>

#include "gcm/gcm.h"

namespace frameseal {

/** Borrowed bytes. */
struct Chunk {
  const uint8_t* data;
  size_t length;
};

/** Walks through chunks once, from front to back. Their total length has been checked before. */
class ChunkCursor {
 public:
  /** Starts `offset` bytes into the first of `count` chunks. */
  ChunkCursor(const Chunk* chunks, size_t count, size_t offset = 0) noexcept
      : chunk_(chunks), end_(chunks + count), offset_(offset) {}
  /** The next bytes that lie in one piece, at most `length` and at least one; `length` is not 0. */
  Chunk next(size_t length) noexcept;
  /** Whether the next `length` bytes lie in one piece. */
  bool is_contiguous(size_t length) noexcept;
  void copy_to(uint8_t* target, size_t length) noexcept;

 private:
  void skip_finished() noexcept;
  const Chunk* chunk_;
  const Chunk* end_;
  size_t offset_;
};

/** The same chunks from any offset on. */
class ChunkList {
 public:
  explicit ChunkList(std::vector<Chunk> chunks);
  ChunkCursor at(size_t offset) const noexcept;

 private:
  std::vector<Chunk> chunks_;
  /** Where each chunk ends. */
  std::vector<size_t> ends_;
};

constexpr size_t kMaxAadPrefix = 1000;
/** What a regular frame has before its ciphertext: sequence number and nonce. */
constexpr size_t kRegularHead = 16;
/** The same for the final frame: marker, sequence number, nonce, length. */
constexpr size_t kFinalHead = 24;
constexpr size_t kTag = 16;
constexpr size_t kNonce = 12;

/** What all frames of one message have in common. Borrows the prefixes. */
struct FrameFormat {
  uint32_t frame_length = 0;
  Chunk regular_prefix{};
  Chunk final_prefix{};

  /**
   * Reads frame length u32 ‖ length of the regular prefix u16 ‖ length of the final prefix u16 ‖ both prefixes,
   * big-endian. False if that is not what the bytes are.
   */
  bool parse(const uint8_t* bytes, size_t length) noexcept;
};

/** Where one frame lies. */
struct Frame {
  bool is_final;
  uint32_t sequence;
  uint32_t length;
  /** Offset of its plaintext in the plaintext of the run, and of its head in the sealed run. */
  size_t plaintext_at;
  size_t sealed_at;
  size_t head_length() const noexcept { return is_final ? kFinalHead : kRegularHead; }
};

/** Which frames: `frame_count` regular ones and, unless `final_length` is negative, the final one. */
struct Run {
  uint32_t frame_length = 0;
  uint32_t first_sequence = 0;
  uint32_t frame_count = 0;
  int64_t final_length = -1;

  /** Whether lengths are possible and sequence numbers fit; everything below counts on it. */
  bool is_valid() const noexcept;
  size_t total() const noexcept { return size_t{frame_count} + (final_length >= 0 ? 1 : 0); }
  size_t plaintext_length() const noexcept;
  size_t sealed_length() const noexcept;
  Frame frame(size_t index) const noexcept;
};

/** What a frame on the wire has besides ciphertext, copied out of the caller's reach. */
struct StoredFrame {
  uint8_t head[kFinalHead];
  uint8_t tag[kTag];
};

/** The AAD of one frame. */
struct Aad {
  uint8_t bytes[kMaxAadPrefix + 12];  // sequence number u32, length u64
  size_t length;

  Aad(const FrameFormat& format, const Frame& frame) noexcept;
};

/** Writes what stands before the ciphertext, `frame.head_length()` bytes; returns where the nonce is. */
const uint8_t* write_head(const Frame& frame, uint8_t* head) noexcept;
/** Checks what stands before the ciphertext; returns where the nonce is, or null. */
const uint8_t* read_head(const Frame& frame, const uint8_t* head) noexcept;

/** Seals one frame from `plaintext`, which stands where it begins, to its place in `sealed`. They do not overlap. */
void seal_frame(const gcm::Key& key, const FrameFormat& format, const Frame& frame, ChunkCursor& plaintext,
                uint8_t* sealed) noexcept;
/**
 * Opens one frame from `sealed`, which stands where it begins, to its place in `plaintext`. False if it is not
 * authentic; its place then holds zeros. Reads each byte of `sealed` once.
 */
bool open_frame(const gcm::Key& key, const FrameFormat& format, const Frame& frame, ChunkCursor& sealed,
                uint8_t* plaintext) noexcept;

/** Seals all frames of `run`. */
void seal_run(const gcm::Key& key, const FrameFormat& format, const Run& run, ChunkCursor plaintext,
              uint8_t* sealed) noexcept;
/**
 * Opens the frames of `run`; returns how many were verified before the first bad one. `plaintext` holds theirs
 * alone; the rest of the run's length is zeroed.
 */
size_t open_run(const gcm::Key& key, const FrameFormat& format, const Run& run, ChunkCursor sealed,
                uint8_t* plaintext) noexcept;

/** Copies the plaintext of one frame to where its ciphertext will be, for `seal_in_place`. */
void scatter_plaintext(const Frame& frame, ChunkCursor& plaintext, uint8_t* sealed) noexcept;
void seal_in_place(const gcm::Key& key, const FrameFormat& format, const Frame& frame, uint8_t* sealed) noexcept;

/** Takes one frame apart: ciphertext to where its plaintext will be, and the rest to `stored`, for `open_in_place`. */
void gather_ciphertext(const Frame& frame, ChunkCursor& sealed, uint8_t* plaintext, StoredFrame& stored) noexcept;
/** False if the frame is not authentic; its place then holds zeros. */
bool open_in_place(const gcm::Key& key, const FrameFormat& format, const Frame& frame, const StoredFrame& stored,
                   uint8_t* plaintext) noexcept;

}  // namespace frameseal
