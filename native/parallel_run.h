// A run of frames worked on by several threads for the duration of one call. Plain C++; knows nothing of Node.
#pragma once
#include <cstddef>
#include <vector>

#include "crew.h"
#include "frame_run.h"

namespace frameseal {

/** Plaintext bytes from which on a second thread is worth its call. */
constexpr size_t kMinParallelLength = 128 * 1024;

/** As `seal_run`, on `threads` threads, this one among them. */
void seal_run_in_parallel(Crew& crew, size_t threads, const gcm::Key& key, const FrameFormat& format, const Run& run,
                          std::vector<Chunk> plaintext, uint8_t* sealed);
/** As `open_run`, on `threads` threads, this one among them. */
size_t open_run_in_parallel(Crew& crew, size_t threads, const gcm::Key& key, const FrameFormat& format, const Run& run,
                            std::vector<Chunk> sealed, uint8_t* plaintext);

}  // namespace frameseal
