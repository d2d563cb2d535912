#include <vector>

#include "kernels/cuda/launch.h"
#include "kernels/cuda/runtime.h"
#include "tests/bench_cuda_kernels.h"

namespace {

class Event {
 public:
  Event() { CUDA_CHECK(cudaEventCreate(&event_)); }
  Event(const Event&) = delete;
  ~Event() { (void)cudaEventDestroy(event_); }

  void record() { CUDA_CHECK(cudaEventRecord(event_, cuda::stream())); }
  float since(const Event& earlier) const {
    float ms = 0;
    CUDA_CHECK(cudaEventSynchronize(event_));
    CUDA_CHECK(cudaEventElapsedTime(&ms, earlier.event_, event_));
    return ms;
  }

 private:
  cudaEvent_t event_ = nullptr;
};

// More than the L2 cache of any GPU, and little enough for the emulator.
#ifdef __CUDACC__
constexpr size_t kFlushBytes = size_t(256) << 20;
#else
constexpr size_t kFlushBytes = 4096;
#endif

}  // namespace

std::vector<double> device_times(const std::function<void()>& run, int rounds) {
  void* other = cuda::allocate(kFlushBytes);
  std::vector<double> times;
  for (int round = -1; round < rounds; round++) {
    cuda::fill_zero(other, kFlushBytes);
    Event begin, end;
    begin.record();
    run();
    end.record();
    const float ms = end.since(begin);
    if (round >= 0) times.push_back(ms);
  }
  cuda::release(other);
  return times;
}
