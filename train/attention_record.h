// What attention looks like in training: the distribution of scores and weights of every head, and how much gradient
// the normalizer lets through. Computed in double by the reference kernel, on the first micro-batch of an update.
#pragma once

#include <algorithm>
#include <atomic>
#include <cmath>
#include <cstdint>
#include <limits>
#include <new>
#include <nlohmann/json.hpp>
#include <vector>

#include "kernels/cpu/parallel.h"
#include "kernels/normalizer/normalizer.h"
#include "kernels/reference/attention.h"
#include "train/score_histogram.h"

// Sums over the rows with at least two visible keys. With weights a and A = sum |a| of a row.
struct AttentionSums {
  double rows = 0, entries = 0;  // entries: visible keys of all rows
  // Scores as the normalizer is given them: scaled by 1/sqrt(HS), with position bias; before SSMax's scale.
  double score = 0, score_squared = 0, score_max = -std::numeric_limits<double>::infinity();
  ScoreHistogram scores;  // of all entries
  double entropy = 0;     // -sum (|a|/A) ln(|a|/A) / ln n; 1 = uniform; a row whose weights are all 0 counts as 0
  double weight_max = 0;  // max |a|
  double weight_first = 0;
  double row_sum = 0, row_sum_squared = 0;
  double negative = 0;   // entries with a < 0
  double saturated = 0;  // rows with max |a| / A > 0.99
  double dweight_squared = 0, dscore_squared = 0;

  void add_row(const std::vector<double>& z, const std::vector<double>& a, const std::vector<double>& g,
               const std::vector<double>& dz, size_t n) {
    double magnitude = 0, largest = 0, sum = 0;
    for (size_t j = 0; j < n; j++) {
      score += z[j];
      score_squared += z[j] * z[j];
      score_max = std::max(score_max, z[j]);
      scores.add(z[j]);
      magnitude += std::abs(a[j]);
      largest = std::max(largest, std::abs(a[j]));
      sum += a[j];
      negative += a[j] < 0;
      dweight_squared += g[j] * g[j];
      dscore_squared += dz[j] * dz[j];
    }
    for (size_t j = 0; j < n; j++) {
      const double share = magnitude > 0 ? std::abs(a[j]) / magnitude : 0;
      if (share > 0) entropy -= share * std::log(share) / std::log(double(n));
    }
    rows += 1;
    entries += double(n);
    weight_max += largest;
    weight_first += a[0];
    row_sum += sum;
    row_sum_squared += sum * sum;
    saturated += magnitude > 0 && largest / magnitude > 0.99;
  }

  void add(const AttentionSums& other) {
    score_max = std::max(score_max, other.score_max);
    scores.add(other.scores);
    for (auto member :
         {&AttentionSums::rows, &AttentionSums::entries, &AttentionSums::score, &AttentionSums::score_squared,
          &AttentionSums::entropy, &AttentionSums::weight_max, &AttentionSums::weight_first, &AttentionSums::row_sum,
          &AttentionSums::row_sum_squared, &AttentionSums::negative, &AttentionSums::saturated,
          &AttentionSums::dweight_squared, &AttentionSums::dscore_squared})
      this->*member += other.*member;
  }

  nlohmann::ordered_json to_json(uint64_t step, int layer, size_t head) const {
    auto deviation = [](double sum, double squares, double n) {
      const double variance = squares / n - sum / n * (sum / n);
      return variance < 0 ? 0.0 : std::sqrt(variance);  // rounding may leave it below 0; NaN stays NaN
    };
    const double dweight = std::sqrt(dweight_squared / entries), dscore = std::sqrt(dscore_squared / entries);
    return {{"event", "attention"},
            {"step", step},
            {"layer", layer},
            {"head", head},
            {"score_mean", score / entries},
            {"score_std", deviation(score, score_squared, entries)},
            {"score_max", score_max},
            {"score_histogram", scores.to_json()},
            {"entropy", entropy / rows},
            {"weight_max", weight_max / rows},
            {"weight_first", weight_first / rows},
            {"row_sum_mean", row_sum / rows},
            {"row_sum_std", deviation(row_sum, row_sum_squared, rows)},
            {"negative", negative / entries},
            {"saturated", saturated / rows},
            {"dweight_norm", dweight},
            {"dscore_norm", dscore},
            {"jacobian", dscore / dweight}};
  }
};

// Of head h of sequence b; arguments as below.
template <class N>
AttentionSums observe_head(const float* qkv, const float* dout, const float* theta, const float* length_scale,
                           const float* slopes, size_t b, size_t h, size_t T, size_t C, size_t NH) {
  const size_t HS = C / NH;
  std::vector<double> head(T * 3 * HS), row_theta(kThetaWords<N>);  // this head alone: (T,3HS)
  for (size_t t = 0; t < T; t++)
    for (size_t part = 0; part < 3; part++)
      for (size_t d = 0; d < HS; d++) head[(t * 3 + part) * HS + d] = qkv[(b * T + t) * 3 * C + part * C + h * HS + d];
  for (int i = 0; i < N::params; i++) row_theta[i] = theta[i * NH + h];

  AttentionSums sums;
  std::vector<double> z(T), a(T), g(T), dz(T), unused(kThetaWords<N>);
  for (size_t t = 1; t < T; t++) {
    const size_t n = t + 1;
    reference::attention_scores(z.data(), head.data(), slopes ? double(slopes[h]) : 0.0, t, 0, HS, HS);
    if constexpr (N::length_scale) row_theta[N::params] = length_scale[t];
    auto row = reference::normalize<N>(a.data(), z.data(), row_theta.data(), n);
    const float* dout_t = dout + (b * T + t) * C + h * HS;
    for (size_t j = 0; j < n; j++) {
      const double* v = head.data() + (j * 3 + 2) * HS;
      g[j] = 0;
      for (size_t d = 0; d < HS; d++) g[j] += dout_t[d] * v[d];
    }
    reference::normalize_backward<N>(dz.data(), unused.data(), g.data(), a.data(), z.data(), row, n);
    sums.add_row(z, a, g, dz, n);
  }
  return sums;
}

// One AttentionSums per head, of one layer. qkv (B,T,3C), theta, length_scale and slopes as the attention kernel had
// them; dout (B,T,C) is the gradient of its output.
template <class N>
std::vector<AttentionSums> observe_attention(const float* qkv, const float* dout, const float* theta,
                                             const float* length_scale, const float* slopes, size_t B, size_t T,
                                             size_t C, size_t NH) {
  std::vector<AttentionSums> each(B * NH), heads(NH);
  std::atomic<bool> refused = false;  // memory, to any of them: an exception must not leave a parallel region
  cpu::parallel_jobs(B * NH, [&](size_t job) {
    try {
      each[job] = observe_head<N>(qkv, dout, theta, length_scale, slopes, job / NH, job % NH, T, C, NH);
    } catch (const std::bad_alloc&) {
      refused = true;
    }
  });
  if (refused) throw std::bad_alloc();
  for (size_t job = 0; job < B * NH; job++) heads[job % NH].add(each[job]);
  return heads;
}
