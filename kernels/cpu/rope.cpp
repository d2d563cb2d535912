#include "kernels/rope.h"

#include <cmath>

#include "kernels/cpu/parallel.h"

void rope_table(float* table, size_t T, size_t HS, double theta) {
  for (size_t t = 0; t < T; t++)
    for (size_t i = 0; i < HS / 2; i++) {
      double angle = double(t) * std::pow(theta, -2.0 * double(i) / double(HS));
      table[(t * (HS / 2) + i) * 2] = float(std::cos(angle));
      table[(t * (HS / 2) + i) * 2 + 1] = float(std::sin(angle));
    }
}

namespace cpu {

namespace {

// direction +1 rotates, -1 rotates back.
void rotate(float* qkv, const float* table, float direction, size_t B, size_t T, size_t C, size_t NH) {
  const size_t half = C / NH / 2;
  parallel_blocks(B * T, 16, [&](size_t begin, size_t end) {
    for (size_t i = begin; i < end; i++) {
      const float* angles = table + i % T * half * 2;
      for (size_t head = 0; head < 2 * NH; head++) {  // NH heads of q, then NH of k
        float* x = qkv + i * 3 * C + head * 2 * half;
        for (size_t d = 0; d < half; d++) {
          float cosine = angles[2 * d], sine = direction * angles[2 * d + 1];
          float a = x[d], b = x[d + half];
          x[d] = a * cosine - b * sine;
          x[d + half] = a * sine + b * cosine;
        }
      }
    }
  });
}

}  // namespace

void rope_forward(float* qkv, const float* table, size_t B, size_t T, size_t C, size_t NH) {
  rotate(qkv, table, 1, B, T, C, NH);
}

void rope_backward(float* dqkv, const float* table, size_t B, size_t T, size_t C, size_t NH) {
  rotate(dqkv, table, -1, B, T, C, NH);
}

}  // namespace cpu
