// The arguments that sealing and opening runs of frames have in common, checked.
#pragma once
#include <algorithm>
#include <memory>
#include <vector>

#include "chunks.h"
#include "environment.h"

namespace frameseal {

/** key, format, chunks, output, firstSequence, frameCount, finalLength, threads */
struct RunArguments {
  enum class Direction { kSeal, kOpen };

  std::shared_ptr<NativeKey> key;
  Bytes format_bytes;
  FrameFormat format;
  Run run;
  std::vector<Chunk> chunks;
  Bytes output;
  size_t threads = 1;

  RunArguments(Arguments& args, Direction direction) { read(args, direction); }

 private:
  void read(Arguments& args, Direction direction) {
    const uint32_t handle = args.uint32(0);
    run.first_sequence = args.uint32(4);
    run.frame_count = args.uint32(5);
    run.final_length = args.integer_or_none(6, 0xffffffffu);
    threads = std::max(1u, args.any_uint32(7));
    if (!args.ok()) return;
    key = args.data<Environment>().keys.find(handle);
    if (key == nullptr) return args.fail_internally("internal error: key has been disposed of");
    const ChunkElements elements(args, 2);  // may run JavaScript; nothing below does
    format_bytes = args.bytes(1);
    if (!args.ok()) return;
    if (!format.parse(format_bytes.data, format_bytes.length)) return args.fail("expected a frame format");
    run.frame_length = format.frame_length;
    if (!run.is_valid()) return args.fail_internally("internal error: not a run of frames");
    const size_t plaintext = run.plaintext_length();
    const size_t sealed = run.sealed_length();
    chunks = elements.read(args, direction == Direction::kSeal ? plaintext : sealed);
    output = args.bytes(3);
    if (!args.ok()) return;
    const size_t needed = direction == Direction::kSeal ? sealed : plaintext;
    if (output.length < needed) return args.fail("output is too short");
    for (const Chunk& chunk : chunks) {
      if (overlaps(chunk.data, chunk.length, output.data, needed)) return args.fail("output overlaps a chunk");
    }
  }
};

}  // namespace frameseal
