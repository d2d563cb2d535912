// Key retrieval by a model, on either backend: what counts as found, and the score of every head.
#include "train/needle_evaluation.h"

#include <cmath>
#include <limits>
#include <string>
#include <vector>

#include "kernels/normalizer/normalizer.h"
#include "model/weights.h"
#include "tests/any_order.h"
#include "tests/catch.h"
#include "tests/compare.h"
#include "tests/device_vector.h"

namespace {

constexpr size_t kLength = 40;

// A model of bytes.
Config shape(Position position) {
  Config config;
  config.L = 2;
  config.NH = 2;
  config.C = 8;
  config.V = 256;
  config.T = kLength;
  config.position = position;
  return config;
}

// A model with memory for B examples. Its weights are the initial ones, made larger so that heads
// look at some tokens more than at others, or what write() makes of zeros.
template <class N>
struct Model {
  Config config;
  Weights<S> weights;
  backend::Memory memory;
  Activations<S> a;
  size_t B;

  template <class Write>
  Model(Position position, size_t batch, Write write) : config(shape(position)), B(batch) {
    config.normalizer_params = N::params;
    config.length_scale = N::length_scale;
    weights = Weights<S>(config);
    weights.fill([&](float* parameters) { write(parameters); });
    memory = backend::Memory(activation_floats<S>(config, kRowWords<N>, B, kLength, false));
    a = view_activations<S>(config, kRowWords<N>, B, kLength, false, memory.data());
  }
  Model(Position position, size_t batch)
      : Model(position, batch, [this](float* parameters) {
          init_parameters(config, parameters, 1, 0.3);
          for (const Tensor& tensor : parameter_tensors(config))
            for (size_t i = 0; i < tensor.size && tensor.decays(); i++) parameters[tensor.offset + i] *= 20;
        }) {}

  template <class Example>
  NeedleEvaluation evaluate(size_t trials, Example example) {
    return evaluate_needles<N, P>(config, weights.view(), a, B, trials, example);
  }
};

// An example with this value, and filler of dots.
NeedleExample example_of(const std::string& value, size_t place = 7) {
  const std::string needle = "abcd=" + value + ";";
  return {std::string(place, '.') + needle + std::string(kLength - 19 - place, '.') + "abcd=" + value, place};
}

const std::string kText =
    "In the beginning God created the heaven and the earth. And the earth was without form, and void; and darkness was "
    "upon the face of the deep. And the Spirit of God moved upon the face of the waters.";

NeedleExample drawn(uint64_t i) {
  const Filler filler = {"the text", kText.size(), [](uint64_t begin, size_t n) { return kText.substr(begin, n); }};
  return needle_example(filler, kLength, std::nullopt, 1, "test", i);
}

// Of every example, every layer and every head, by attention_forward of the reference on values that mark the needle's
// digits: channel i of a head is 1 for digit i, so that the head's output is their weights.
template <class N>
std::vector<double> scores_of_reference(Model<N>& model, size_t trials) {
  const size_t L = model.config.L, NH = model.config.NH, C = model.config.C, HS = C / NH;
  std::vector<double> scores;  // (trials,L,NH)
  for (size_t i = 0; i < trials; i++) {
    const NeedleExample example = drawn(i);
    const auto tokens = encode(example.text);
    forward<N, P>(model.config, model.weights.view(), model.a, tokens.data(), nullptr, 1, kLength);
    for (size_t l = 0; l < L; l++) {
      std::vector<float> room, theta_room, length_room, slopes_room;
      const float* stored = backend::to_host(room, model.a.h[l].qkv, kLength * 3 * C);
      std::vector<double> qkv(stored, stored + kLength * 3 * C), theta, length_scale, slopes, out(kLength * C);
      if (N::params > 0) {
        const float* x = backend::to_host(theta_room, model.weights.view().h[l].theta, N::params * NH);
        theta.assign(x, x + N::params * NH);
      }
      if (N::length_scale) {
        const float* x = backend::to_host(length_room, model.weights.view().length_scale, kLength);
        length_scale.assign(x, x + kLength);
      }
      if (model.a.slopes) {
        const float* x = backend::to_host(slopes_room, model.a.slopes, NH);
        slopes.assign(x, x + NH);
      }
      for (size_t j = 0; j < kLength; j++)
        for (size_t c = 0; c < C; c++) qkv[(j * 3 + 2) * C + c] = j == example.needle_value() + c % HS;
      reference::attention_forward<N, double>(out.data(), qkv.data(), theta.data(), length_scale.data(),
                                              slopes.empty() ? nullptr : slopes.data(), 1, kLength, C, NH);
      for (size_t h = 0; h < NH; h++) {
        double score = 0;
        for (size_t i = 0; i < kValueDigits; i++) score += std::abs(out[example.query_end() * C + h * HS + i]);
        scores.push_back(score);
      }
    }
  }
  return scores;
}

template <class N>
void check_scores(Position position) {
  INFO(position_name(position));
  const size_t trials = 5;
  Model<N> model(position, 2);
  const auto expected = scores_of_reference(model, trials);
  std::vector<double> means(4);
  double top = 0;
  for (size_t i = 0; i < trials; i++) {
    const auto first = expected.begin() + long(i * 4);
    for (size_t j = 0; j < 4; j++) means[j] += first[long(j)] / trials;
    top += *std::max_element(first, first + 4) / trials;
  }
  const NeedleEvaluation result = model.evaluate(trials, drawn);
  // Of a forward with another number of rows, in which a GPU's products may add in another order.
  const double close = backend::kOnHost ? 1e-12 : kStoredExactly ? 1e-4 : 0.1;
  CHECK(compare(result.head_scores, means, {close, close}));
  CHECK(result.top_score == Approx(top).epsilon(close));
  CHECK(*std::max_element(means.begin(), means.end()) > 1.2 * *std::min_element(means.begin(), means.end()));
}

}  // namespace

TEST_CASE("a value is found where all of its digits are the likeliest tokens, in their order", "[core][needle]") {
  // Predicts "1234" behind the last `=`, whatever the tokens: position i of those four points to the digit i + 1.
  Model<named::softmax> model(Position::kLearned, 2, [](float* parameters) {
    const Parameters<float> p = view_parameters(shape(Position::kLearned), parameters);
    for (size_t c = 0; c < 8; c++) p.ln_f_weight[c] = 1;
    for (size_t i = 0; i < 4; i++) {
      p.wte[('1' + i) * 8 + i] = 1;
      p.wpe[(kLength - 5 + i) * 8 + i] = 10;
    }
  });
  const std::vector<NeedleExample> examples = {example_of("1234"), example_of("1294"), example_of("2234", 0),
                                               example_of("1235", 21), example_of("1234", 21)};
  const NeedleEvaluation result = model.evaluate(examples.size(), [&](size_t i) { return examples[i]; });
  CHECK(result.exact == 2 / 5.0);
  CHECK(result.first_digit == 4 / 5.0);
  // All scores are 0, so that each of the 36 keys that the last `=` sees has the same weight.
  CHECK(compare(result.head_scores, std::vector<double>(4, 4 / 36.0), {1e-12, 1e-12}));
  CHECK(result.top_score == Approx(4 / 36.0).epsilon(1e-12));
}

TEST_CASE("digits are counted up to the first that is not the likeliest", "[core][needle]") {
  const NeedleExample example = example_of("0120");
  const size_t V = 52;
  std::vector<float> logits(4 * V, -1);
  auto found = [&] { return digits_found(logits.data(), V, example); };
  CHECK(found() == 0);
  for (size_t i = 0; i < 4; i++) {
    logits[i * V + uint8_t("0120"[i])] = 0;
    CHECK(found() == i + 1);
  }
  logits[1 * V + '2'] = 0;  // as likely as '1', and larger
  CHECK(found() == 4);
  logits[2 * V + '1'] = 0;  // as likely as '2', and smaller
  CHECK(found() == 2);
  logits[0 * V + 7] = std::numeric_limits<float>::quiet_NaN();
  CHECK(found() == 2);
  logits[0] = std::numeric_limits<float>::infinity();
  CHECK(found() == 0);
  std::fill(logits.begin(), logits.end(), std::numeric_limits<float>::quiet_NaN());
  CHECK(found() == 0);
}

TEST_CASE("the needle score is the attention that the reference pays to the value", "[core][needle]") {
  for (Position position : {Position::kRope, Position::kAlibi, Position::kNone}) {
    check_scores<named::softmax>(position);
    check_scores<named::ssmax>(position);
    check_scores<named::sinmax_signed>(position);
    check_scores<named::sa_softmax>(position);
    check_scores<named::learned_scale>(position);
  }
}

TEST_CASE("scores that are no numbers are not hidden", "[core][needle]") {
  const NeedleExample example = example_of("1234");
  std::vector<float> qkv(kLength * 3 * 8, 1);
  qkv[(example.query_end() * 3) * 8 + 5] = kNaN;  // the query of the second head
  const auto scores = needle_scores<named::softmax>({qkv.data(), nullptr, nullptr, nullptr}, example, 8, 2);
  CHECK(scores[0] == Approx(4 / 36.0));
  CHECK(std::isnan(scores[1]));

  Model<named::softmax> model(Position::kNone, 1, [](float* parameters) {
    view_parameters(shape(Position::kNone), parameters).h[0].qkv_bias[0] = kNaN;  // the first head's queries
  });
  const NeedleEvaluation result = model.evaluate(1, drawn);
  CHECK(std::isnan(result.head_scores[0]));
  CHECK(std::isnan(result.top_score));
  CHECK(result.exact == 0);
}

TEST_CASE("an untrained model finds nothing, in batches of any size and in any order of work", "[core][needle]") {
  const size_t trials = 11;
  Model<named::softmax> one(Position::kRope, 1);
  const NeedleEvaluation expected = one.evaluate(trials, drawn);
  CHECK(expected.exact == 0);
  CHECK(expected.first_digit < 0.5);
  for (size_t B : {2, 4, 11, 20}) {
    INFO("B = " << B);
    Model<named::softmax> model(Position::kRope, B);
    CHECK(same_for_any_order([&] {
      const NeedleEvaluation result = model.evaluate(trials, drawn);
      if (backend::kOnHost) {
        CHECK(result.head_scores == expected.head_scores);
        CHECK(result.top_score == expected.top_score);
        CHECK(result.first_digit == expected.first_digit);
        CHECK(result.exact == expected.exact);
      }
      return joined({bits_of(result.head_scores), bits_of({result.exact, result.first_digit, result.top_score})});
    }));
  }
}

TEST_CASE("the tables of key retrieval", "[core][needle]") {
  NeedleEvaluation result{0.25, 0.5, 1.0 / 3, {0.5, 0, 0.125, 2.0 / 3}};
  CHECK(std::string(kNeedleHeader) + needle_line("256,0.5", result) ==
        "length,depth,exact,first_digit,top_needle_score\n256,0.5,0.250000,0.500000,0.333333\n");
  CHECK(std::string(kNeedleHeadsHeader) + needle_heads_lines("256,0.5", result, 2) ==
        "length,depth,layer,head,score\n256,0.5,0,0,0.500000\n256,0.5,0,1,0.000000\n256,0.5,1,0,0.125000\n"
        "256,0.5,1,1,0.666667\n");
}
