// The loss of a model on a stream of tokens: every token but the first is predicted exactly once.
#pragma once

#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <string>
#include <vector>

#include "data/error.h"
#include "data/token_file.h"
#include "model/forward.h"

struct Evaluation {
  double nats = 0;                           // total over the predicted tokens
  uint64_t tokens = 0;                       // predicted
  std::vector<double> nats_by_position;      // (T) totals over the windows
  std::vector<uint64_t> tokens_by_position;  // (T)

  double loss() const { return nats / double(tokens); }
  // `bytes` of text behind the tokens.
  double bits_per_byte(double bytes) const { return nats / 0.6931471805599453 / bytes; }
};

// The mean loss of every position (from 1) that was evaluated: "position,loss_nats,tokens" and a line for each.
inline std::string by_position_csv(const Evaluation& evaluation) {
  std::string text = "position,loss_nats,tokens\n";
  for (size_t t = 0; t < evaluation.tokens_by_position.size() && evaluation.tokens_by_position[t] > 0; t++) {
    const uint64_t tokens = evaluation.tokens_by_position[t];
    char loss[400];
    std::snprintf(loss, sizeof loss, "%.6f", evaluation.nats_by_position[t] / double(tokens));
    text += std::to_string(t + 1) + "," + loss + "," + std::to_string(tokens) + "\n";
  }
  return text;
}

// Error unless the stream has a token to start from and one to predict.
inline void require_predictable(const TokenStream& stream) {
  if (stream.size() < 2)
    throw Error(stream.name() + " holds " + std::to_string(stream.size()) +
                " tokens; a loss needs at least two, one to start from and one to predict");
}

// B windows of T tokens, from token `begin` of a stream on; the next window starts where one ends.
struct EvaluationBatch {
  uint64_t begin;
  size_t B, T;
};

// Windows start at 0, T, 2T, ...; the last is shorter. At most B windows at a time, of which
// losses(batch, inputs, targets) returns the (B,T) losses in nats; the result does not depend on B. At most `limit`
// tokens are predicted, from the start of the stream (see require_predictable).
template <class Losses>
Evaluation evaluate_windows(const TokenStream& stream, size_t B, size_t T, uint64_t limit, Losses losses) {
  Evaluation result;
  result.tokens = std::min(stream.size() - 1, limit);
  result.nats_by_position.resize(T);
  result.tokens_by_position.resize(T);
  std::vector<int32_t> inputs(B * T), targets(B * T);
  for (uint64_t begin = 0; begin < result.tokens;) {
    const uint64_t left = result.tokens - begin;
    const size_t length = size_t(std::min<uint64_t>(T, left));
    const size_t rows = size_t(std::clamp<uint64_t>(left / length, 1, B));
    stream.copy(begin, rows * length, inputs.data());
    stream.copy(begin + 1, rows * length, targets.data());
    const float* nats = losses(EvaluationBatch{begin, rows, length}, inputs.data(), targets.data());
    for (size_t i = 0; i < rows * length; i++) {
      result.nats += nats[i];
      result.nats_by_position[i % length] += nats[i];
      result.tokens_by_position[i % length]++;
    }
    begin += rows * length;
  }
  return result;
}

// Of a model, with activations made for B x T.
template <class N, class P = fp32, class S = backend::Storage<P>>
Evaluation evaluate(const Config& config, const Parameters<S>& p, Activations<S>& a, const TokenStream& stream,
                    size_t B, size_t T, uint64_t limit) {
  std::vector<float> room;
  return evaluate_windows(stream, B, T, limit,
                          [&](const EvaluationBatch& batch, const int32_t* inputs, const int32_t* targets) {
                            forward<N, P>(config, p, a, inputs, targets, batch.B, batch.T);
                            return backend::to_host(room, a.losses, batch.B * batch.T);
                          });
}
