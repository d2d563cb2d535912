// Key retrieval (data/needle.h) by a model: how often it finds the value, and which heads look at it.
//
// The model reads whole examples, and what it predicts for each of the value's four digits is the likeliest of all tokens,
// given the true digits before it: with all four right an example is exact. The needle score of a head is the weight that
// the query which predicts the first digit, the last `=`, puts on the needle's value: sum |a_j| over its four bytes, of the
// weights a that the normalizer gives. So it lies in 0 .. 1 for weights that are positive and sum to at most 1; weights of
// either sign may exceed 1, and rows that sum to less score less: nothing is divided by the row's own sum.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <string>
#include <vector>

#include "data/needle.h"
#include "data/tokenizer.h"
#include "kernels/normalizer/normalizer.h"
#include "kernels/reference/attention.h"
#include "model/forward.h"

// Of the examples of one length and depth.
struct NeedleEvaluation {
  double exact = 0, first_digit = 0;  // fractions of the examples
  double top_score = 0;               // mean of each example's best head
  std::vector<double> head_scores;    // (L,NH) means
};

// What attention computes from, in memory of the host: qkv (T,3C) of one sequence, the others as its kernel had them.
struct AttentionInputs {
  const float *qkv, *theta, *length_scale, *slopes;
};

// The weights that query t of head h gives to keys 0 .. t, in double, by the reference kernel.
template <class N>
std::vector<double> attention_row(const AttentionInputs& inputs, size_t t, size_t h, size_t C, size_t NH) {
  const size_t HS = C / NH, n = t + 1;
  std::vector<double> head(n * 3 * HS), z(n), a(n);  // head: (n,3HS), of which q of row t and all k are needed
  for (size_t d = 0; d < HS; d++) head[t * 3 * HS + d] = inputs.qkv[t * 3 * C + h * HS + d];
  for (size_t j = 0; j < n; j++)
    for (size_t d = 0; d < HS; d++) head[(j * 3 + 1) * HS + d] = inputs.qkv[(j * 3 + 1) * C + h * HS + d];
  const auto theta = reference::theta_of_row<N>(inputs.theta, inputs.length_scale, t, h, NH);
  const double slope = inputs.slopes ? inputs.slopes[h] : 0;
  reference::attention_scores(z.data(), head.data(), slope, t, 0, HS, HS);
  reference::normalize<N>(a.data(), z.data(), std::vector<double>(theta.begin(), theta.end()).data(), n);
  return a;
}

// (NH) scores of one layer for one example.
template <class N>
std::vector<double> needle_scores(const AttentionInputs& inputs, const NeedleExample& example, size_t C, size_t NH) {
  std::vector<double> scores(NH);
  for (size_t h = 0; h < NH; h++) {
    const auto a = attention_row<N>(inputs, example.query_end(), h, C, NH);
    for (size_t i = 0; i < kValueDigits; i++) scores[h] += std::abs(a[example.needle_value() + i]);
  }
  return scores;
}

// How many digits of the value the model finds before the first that it does not; logits (kValueDigits,V) are those of
// the queries that predict them. A tie goes to the smaller token; NaN is never the likeliest.
inline size_t digits_found(const float* logits, size_t V, const NeedleExample& example) {
  for (size_t i = 0; i < kValueDigits; i++) {
    const float* row = logits + i * V;
    size_t likeliest = V;
    for (size_t v = 0; v < V; v++)
      if (!std::isnan(row[v]) && (likeliest == V || row[v] > row[likeliest])) likeliest = v;
    if (likeliest != uint8_t(example.text[example.answer() + i])) return i;
  }
  return kValueDigits;
}

// Of example(0) .. example(trials - 1), all of one length, for which, B at a time, the activations were made. The result
// does not depend on B.
template <class N, class P = fp32, class Example, class S = backend::Storage<P>>
NeedleEvaluation evaluate_needles(const Config& config, const Parameters<S>& p, Activations<S>& a, size_t B,
                                  size_t trials, Example example) {
  const size_t L = config.L, NH = config.NH, C = config.C, V = config.V;
  std::vector<float> qkv_room, theta_room, length_room, slopes_room, logits_room;
  NeedleEvaluation result;
  result.head_scores.resize(L * NH);
  for (size_t begin = 0; begin < trials; begin += B) {
    std::vector<NeedleExample> examples;
    std::vector<int32_t> tokens;
    for (size_t i = begin; i < std::min(begin + B, trials); i++) {
      examples.push_back(example(i));
      const auto row = encode(examples.back().text);
      tokens.insert(tokens.end(), row.begin(), row.end());
    }
    const size_t T = examples[0].text.size();
    forward<N, P>(config, p, a, tokens.data(), nullptr, examples.size(), T);

    auto on_host = [](std::vector<float>& room, const float* x, size_t n) {
      return x ? backend::to_host(room, x, n) : nullptr;
    };
    AttentionInputs inputs;
    inputs.slopes = on_host(slopes_room, a.slopes, NH);
    inputs.length_scale = on_host(length_room, p.length_scale, T);
    for (size_t b = 0; b < examples.size(); b++) {
      const size_t query = examples[b].query_end();
      const size_t found =
          digits_found(backend::to_host(logits_room, a.logits + (b * T + query) * V, kValueDigits * V), V, examples[b]);
      result.first_digit += found > 0;
      result.exact += found == kValueDigits;
      double best = 0;
      for (size_t l = 0; l < L; l++) {
        inputs.qkv = backend::to_host(qkv_room, a.h[l].qkv + b * T * 3 * C, (query + 1) * 3 * C);
        inputs.theta = on_host(theta_room, p.h[l].theta, N::params * NH);
        const auto scores = needle_scores<N>(inputs, examples[b], C, NH);
        for (size_t h = 0; h < NH; h++) {
          result.head_scores[l * NH + h] += scores[h];
          best = std::isnan(best) || best >= scores[h] ? best : scores[h];  // NaN stays NaN
        }
      }
      result.top_score += best;
    }
  }
  const double n = double(trials);
  result.exact /= n;
  result.first_digit /= n;
  result.top_score /= n;
  for (double& score : result.head_scores) score /= n;
  return result;
}

constexpr const char* kNeedleHeader = "length,depth,exact,first_digit,top_needle_score\n";
constexpr const char* kNeedleHeadsHeader = "length,depth,layer,head,score\n";

// The lines behind these headers; `place` is "length,depth".
inline std::string needle_line(const std::string& place, const NeedleEvaluation& result) {
  char numbers[1000];
  std::snprintf(numbers, sizeof numbers, ",%.6f,%.6f,%.6f\n", result.exact, result.first_digit, result.top_score);
  return place + numbers;
}
inline std::string needle_heads_lines(const std::string& place, const NeedleEvaluation& result, size_t NH) {
  std::string lines;
  for (size_t i = 0; i < result.head_scores.size(); i++) {
    char score[400];
    std::snprintf(score, sizeof score, ",%.6f\n", result.head_scores[i]);
    lines += place + "," + std::to_string(i / NH) + "," + std::to_string(i % NH) + score;
  }
  return lines;
}
