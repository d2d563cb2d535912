#include "kernels/adamw.h"

#include "kernels/cuda/device.h"
#include "kernels/cuda/launch.h"

namespace cuda {

namespace {

constexpr size_t kPiece = 4096;  // numbers that a block updates, all of one tensor

struct Blocks {
  float *param, *grad, *m, *v;
  bf16* stored;  // or null
};

// A tensor, and the first of the blocks that update it.
struct Task {
  size_t offset, size;
  float decay;
  unsigned first_block;
};

// A kernel's parameters may take 4 KiB, so one launch updates this many tensors: all of GPT-2's.
constexpr size_t kMostTasks = 160;
struct Tasks {
  Task list[kMostTasks];
  unsigned count;
};
static_assert(sizeof(Tasks) + sizeof(Blocks) + sizeof(AdamW) <= 4096);

// The last task that starts at this block or before.
__device__ const Task& task_of(const Tasks& tasks, unsigned block) {
  unsigned low = 0, high = tasks.count;
  while (high - low > 1) {
    const unsigned middle = (low + high) / 2;
    (tasks.list[middle].first_block <= block ? low : high) = middle;
  }
  return tasks.list[low];
}

template <int W>
__global__ void __launch_bounds__(kThreads)
    adamw_kernel(const __grid_constant__ Tasks tasks, const __grid_constant__ Blocks at,
                 const __grid_constant__ AdamW step) {
  const Task& task = task_of(tasks, blockIdx.x);
  const size_t piece = (blockIdx.x - task.first_block) * kPiece;
  const size_t begin = task.offset + piece, end = task.offset + min(task.size, piece + kPiece);
  const float keep = 1 - step.lr * task.decay, rate = step.lr / step.correction1;
  const float over_root2 = 1 / sqrtf(step.correction2);

  for_range<W>(begin, end, [&](size_t i, auto w) {
    constexpr int Width = decltype(w)::value;
    const Floats<Width> grad = load<Width>(at.grad + i);
    Floats<Width> p = load<Width>(at.param + i), m = load<Width>(at.m + i), v = load<Width>(at.v + i);
#pragma unroll
    for (int k = 0; k < Width; k++) {
      const float g = grad[k] * step.grad_scale;
      m[k] = fmaf(1 - step.beta1, g, step.beta1 * m[k]);
      v[k] = fmaf((1 - step.beta2) * g, g, step.beta2 * v[k]);
      p[k] = p[k] * keep - rate * m[k] / fmaf(sqrtf(v[k]), over_root2, kAdamEps);
    }
    store<Width>(at.param + i, p);
    store<Width>(at.m + i, m);
    store<Width>(at.v + i, v);
    store<Width>(at.grad + i, Floats<Width>{});
    if (at.stored) store<Width>(at.stored + i, p);
  });
}

template <int W>
__global__ void __launch_bounds__(kThreads) round_kernel(bf16* stored, const float* param, size_t n) {
  const size_t i = grid_thread() * W;
  if (i < n) store<W>(stored + i, load<W>(param + i));
}

}  // namespace

void adamw_update(float* param, float* grad, float* m, float* v, const std::vector<AdamWTensor>& tensors,
                  const AdamW& step, bf16* stored) {
  for (size_t first = 0; first < tensors.size(); first += kMostTasks) {
    Tasks tasks{};
    size_t blocks = 0;
    for (size_t i = first; i < std::min(first + kMostTasks, tensors.size()); i++) {
      tasks.list[tasks.count++] = {tensors[i].offset, tensors[i].size, tensors[i].decay, unsigned(blocks)};
      blocks += divide_up(tensors[i].size, kPiece);
    }
    with_width<float>(0, {param, grad, m, v, stored}, [&](auto w) {
      CUDA_LAUNCH((adamw_kernel<decltype(w)::value>), (Grid{unsigned(blocks), kThreads}), tasks,
                  (Blocks{param, grad, m, v, stored}), step);
    });
  }
}

void round_parameters(bf16* stored, const float* param, size_t n) {
  with_width<bf16>(n, {stored, param}, [&](auto w) {
    constexpr int W = decltype(w)::value;
    CUDA_LAUNCH(round_kernel<W>, thread_each(n / W), stored, param, n);
  });
}

}  // namespace cuda
