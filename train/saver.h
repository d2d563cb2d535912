// Writes checkpoints while training goes on: save() copies the state of the run and returns, and a thread hashes, writes,
// syncs and renames what train/checkpoint.h describes. One checkpoint is under way at a time.
#pragma once

#include <chrono>
#include <cstdint>
#include <future>
#include <optional>
#include <string>
#include <system_error>
#include <utility>

#include "model/backend.h"
#include "train/checkpoint.h"
#include "train/checkpoint_json.h"
#include "train/metrics.h"

class Saver {
 public:
  // Of a run whose parameters and moments take `floats` each. In the background it needs a copy of the three, which is
  // part of the memory plan; else save() returns when the checkpoint is written. The metrics outlive the saver, which
  // syncs them before the checkpoint gets its name: a checkpoint never knows of an update that the metrics lost.
  Saver(const std::string& run, const Config& config, size_t floats, bool in_background, const Metrics& metrics)
      : run_(run),
        config_(config),
        floats_(floats),
        in_background_(in_background),
        metrics_(metrics),
        copy_(in_background || !backend::kOnHost ? 3 * floats : 0) {}

  // A checkpoint that is in place.
  struct Saved {
    uint64_t step;
    std::string path;
    double seconds;  // of writing
  };

  // Starts a checkpoint from blocks of the backend, which may change on return. wait() comes before.
  void save(const float* parameters, const float* m, const float* v, TrainerState state, int keep) {
    if (copy_.size() > 0) {
      float* copy = copy_.data();
      parameters = backend::copy_out(copy, parameters, floats_);
      m = backend::copy_out(copy + floats_, m, floats_);
      v = backend::copy_out(copy + 2 * floats_, v, floats_);
    }
    auto write = [this, parameters, m, v, state = std::move(state), keep]() -> Saved {
      const auto begin = std::chrono::steady_clock::now();
      metrics_.sync();
      const std::string path = write_checkpoint(run_, config_, parameters, m, v, state, keep);
      return {state.step, path, std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count()};
    };
    if (in_background_) try {
        writing_ = std::async(std::launch::async, write);
        return;
      } catch (const std::system_error&) {  // the system has no thread to give
      }
    writing_ = std::async(std::launch::deferred, write);
    writing_.wait();
  }

  // What has been finished since the last call, if anything has. Failure where the disk refused.
  std::optional<Saved> finished() {
    using namespace std::chrono_literals;
    if (!writing_.valid() || writing_.wait_for(0s) == std::future_status::timeout) return std::nullopt;
    return writing_.get();
  }

  // The same, after waiting for what is under way.
  std::optional<Saved> wait() {
    if (!writing_.valid()) return std::nullopt;
    return writing_.get();
  }

 private:
  std::string run_;
  Config config_;
  size_t floats_;
  bool in_background_;
  const Metrics& metrics_;
  Buffer copy_;                 // of parameters, m, v
  std::future<Saved> writing_;  // its destructor waits
};
