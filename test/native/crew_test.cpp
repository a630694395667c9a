// The helping threads, meant for ThreadSanitizer: every unit is done exactly once, by whoever; nothing is touched after
// `run` has returned; callers on several threads share the helpers; crews end while helpers sleep or look out.
#include "crew.h"

#include <cstdio>
#include <cstdlib>
#include <thread>
#include <vector>

#include "gcm/kernels.h"
#include "parallel_run.h"

namespace {

using namespace frameseal;

void check(bool is_right, const char* what) {
  if (is_right) return;
  std::fprintf(stderr, "crew_test: %s\n", what);
  std::exit(1);
}

/** Counts without atomics, so that a unit done twice or a write after the end is a data race. */
struct Count final : Work {
  std::vector<unsigned> done;
  std::vector<std::thread::id> by;
  unsigned work_per_unit;
  Count(size_t count, unsigned work) : done(count), by(count), work_per_unit(work) {}
  void run(size_t unit) noexcept override {
    volatile unsigned spin = 0;
    for (unsigned i = 0; i < work_per_unit; i++) spin = spin + 1;
    done[unit]++;
    by[unit] = std::this_thread::get_id();
  }
};

size_t run_and_check(Crew& crew, size_t count, size_t helpers, unsigned work) {
  Count units(count, work);
  crew.run(units, count, helpers);
  size_t by_others = 0;
  for (size_t i = 0; i < count; i++) {
    check(units.done[i] == 1, "a unit was not done exactly once");
    if (units.by[i] != std::this_thread::get_id()) by_others++;
  }
  return by_others;
}

void counts(size_t rounds) {
  size_t by_others = 0;
  for (size_t round = 0; round < rounds; round++) {
    const std::shared_ptr<Crew> crew = Crew::shared();
    check(crew == Crew::shared(), "there are two crews");
    run_and_check(*crew, 0, 3, 0);
    check(run_and_check(*crew, 9, 0, 100) == 0, "helpers worked unasked");
    for (size_t count = 1; count < 40; count++) by_others += run_and_check(*crew, count, count % 4, 2'000);
    if (round % 3 == 0) std::this_thread::sleep_for(std::chrono::microseconds(200));  // helpers fall asleep
    by_others += run_and_check(*crew, 64, Crew::kMaxHelpers, 20'000);
  }
  check(by_others > 0 || std::thread::hardware_concurrency() < 2, "helpers never helped");
}

void callers(size_t rounds) {
  const std::shared_ptr<Crew> crew = Crew::shared();
  std::vector<std::thread> threads;
  for (int i = 0; i < 4; i++) {
    threads.emplace_back([&] {
      for (size_t round = 0; round < rounds; round++) run_and_check(*Crew::shared(), 16, 3, 500);
    });
  }
  for (std::thread& thread : threads) thread.join();
}

/** Runs of frames: the same bytes on any number of threads, and the verified frames before a bad one. */
void runs(const gcm::Kernel& kernel) {
  const std::shared_ptr<Crew> crew = Crew::shared();
  const uint8_t raw[32] = {1, 2, 3};
  gcm::Key key;
  gcm::key_init(key, kernel, raw);
  for (const uint32_t frame_length : {4096u, 65536u, 200'000u}) {
    const uint8_t prefix[44] = {5};
    FrameFormat format;
    format.frame_length = frame_length;
    format.regular_prefix = format.final_prefix = Chunk{prefix, sizeof prefix};
    Run run;
    run.frame_length = frame_length;
    run.first_sequence = 1;
    run.frame_count = 600'000 / frame_length;
    run.final_length = 1'000;
    std::vector<uint8_t> plaintext(run.plaintext_length());
    for (size_t i = 0; i < plaintext.size(); i++) plaintext[i] = static_cast<uint8_t>(i * 31 + (i >> 8));
    const size_t cut = plaintext.size() / 3;
    const std::vector<Chunk> chunks{{plaintext.data(), cut}, {plaintext.data() + cut, plaintext.size() - cut}};
    std::vector<uint8_t> expected(run.sealed_length());
    std::vector<uint8_t> sealed(run.sealed_length());
    std::vector<uint8_t> opened(run.plaintext_length());
    seal_run(key, format, run, ChunkCursor(chunks.data(), chunks.size()), expected.data());
    for (const size_t threads : {2, 5}) {
      seal_run_in_parallel(*crew, threads, key, format, run, chunks, sealed.data());
      check(sealed == expected, "sealed otherwise");
      const auto open = [&] {
        return open_run_in_parallel(*crew, threads, key, format, run, {{sealed.data(), sealed.size()}}, opened.data());
      };
      check(open() == run.total() && opened == plaintext, "opened otherwise");
      for (size_t bad = 0; bad < run.total(); bad += 2) {
        const Frame frame = run.frame(bad);
        sealed[frame.sealed_at + frame.head_length() + frame.length / 2] ^= 1;
        check(open() == bad, "took a bad frame");
        for (size_t i = frame.plaintext_at; i < opened.size(); i++) check(opened[i] == 0, "left a bad frame");
        sealed = expected;
      }
      // Threads find bad frames at the same time: the first in the message counts, not the last that was found.
      for (size_t i = 1; i < run.total(); i++) sealed[run.frame(i).sealed_at + run.frame(i).head_length()] ^= 1;
      for (int round = 0; round < 60; round++) check(open() == 1, "took a bad frame beside another");
      sealed = expected;
    }
  }
  gcm::key_wipe(key);
}

}  // namespace

int main() {
  counts(60);
  callers(300);
  size_t kernels = 0;
  for (size_t i = 0; i < gcm::kernel_count(); i++) {
    const gcm::Kernel& kernel = gcm::kernel_at(i);
    if (gcm::kernel_fitness(kernel) != gcm::Fitness::works || kernel.multiply == nullptr) continue;
    runs(kernel);
    kernels++;
  }
  std::printf("helping threads: right, with runs of frames on %zu kernels\n", kernels);
}
