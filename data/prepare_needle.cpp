#include "data/prepare_needle.h"

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>
#include <vector>

#include "data/dataset.h"
#include "data/error.h"
#include "data/loader.h"
#include "data/needle.h"
#include "data/prepare_parts.h"
#include "data/sha256.h"
#include "data/tokenizer.h"
#include "kernels/random.h"

namespace {

constexpr Split kSplits[] = {Split::kTrain, Split::kVal, Split::kTest};
constexpr uint64_t kEvaluationShare = 20, kLeastEvaluationExamples = 20;

std::string name_of(Split split) { return kSplitNames[int(split)]; }

std::string share_text(const NeedleData& needle) { return nlohmann::json(needle.mix_share).dump(); }

std::string source_name(const PrepareSource& text, const NeedleData& needle) {
  std::string name = "needle: " + std::to_string(needle.examples) + " examples of " + std::to_string(needle.length) +
                     " bytes with filler from " + text.name + ", seed " + std::to_string(needle.seed);
  if (!needle.mix.empty()) name += ", mixed with " + share_text(needle) + " of " + needle.mix;
  return name;
}

// The folder of --mix; empty streams without one.
Dataset load_mix(const NeedleData& needle) {
  if (needle.mix.empty()) return {};
  Dataset mix = load_dataset(needle.mix, 0);
  if (mix.tokenizer != "bytes")
    throw Error("--mix '" + needle.mix + "' holds tokens " +
                (mix.tokenizer.empty() ? "of unknown kind" : "made by " + quoted(mix.tokenizer)) +
                "; they must be bytes, as those of a needle are");
  for (Split split : kSplits)
    if (mix.split(name_of(split)).size() < uint64_t(needle.length))
      throw Error("--mix '" + needle.mix + "' has " + std::to_string(mix.split(name_of(split)).size()) +
                  " tokens for the split " + name_of(split) + "; a row of --length " + std::to_string(needle.length) +
                  " needs as many");
  return mix;
}

// The hash of all that decides the tokens.
std::string hash_of_origin(const std::string& text_sha256, const NeedleData& needle, const Dataset& mix) {
  std::string origin = "needle 1\nlength " + std::to_string(needle.length) + "\nexamples " +
                       std::to_string(needle.examples) + "\nseed " + std::to_string(needle.seed) + "\ntext " +
                       text_sha256 + "\n";
  if (!needle.mix.empty()) origin += "mix " + share_text(needle) + "\n";
  for (const auto& [file, hash] : mix.sha256) origin += file + " " + hash + "\n";
  return sha256_hex(origin);
}

// Every file must be short enough.
void require_room(const NeedleData& needle) {
  const double examples = std::max(double(needle.examples), double(kLeastEvaluationExamples));
  if (examples / (1 - needle.mix_share) * needle.length > 0.999 * double(kMostTokensPerFile))
    throw Error("--examples " + std::to_string(needle.examples) + " of --length " + std::to_string(needle.length) +
                (needle.mix.empty() ? "" : ", with " + share_text(needle) + " of all rows from --mix,") +
                " make more than the " + std::to_string(kMostTokensPerFile) + " tokens that a file can hold");
}

// The rows of one split, in order.
class Rows {
 public:
  Rows(const NeedleData& needle, Split split, const Filler& filler, const TokenStream& plain)
      : needle_(needle),
        name_("needle " + name_of(split)),
        filler_(filler),
        plain_(plain),
        rows_(needle_rows(needle, split)),
        places_(shuffled_windows(rows_.all, needle.seed, fnv1a(name_ + " rows"))) {}

  void write(TokenWriter& writer) {
    for (uint64_t place : places_) {
      const std::vector<int32_t> row = place < rows_.examples ? example(place) : window(place - rows_.examples);
      writer.add(row.data(), row.size());
    }
    const std::vector<int32_t> end = encode("\n");
    writer.add(end.data(), end.size());
  }

 private:
  std::vector<int32_t> example(uint64_t number) const {
    return encode(needle_example(filler_, size_t(needle_.length), std::nullopt, needle_.seed, name_, number).text);
  }

  std::vector<int32_t> window(uint64_t number) {
    std::vector<int32_t> row(size_t(needle_.length));
    const uint64_t count = plain_.size() / row.size(), epoch = number / count;
    if (windows_.empty() || epoch != epoch_) {
      windows_ = shuffled_windows(count, needle_.seed, fnv1a(name_ + " windows " + std::to_string(epoch)));
      epoch_ = epoch;
    }
    plain_.copy(windows_[number % count] * row.size(), row.size(), row.data());
    return row;
  }

  const NeedleData& needle_;
  const std::string name_;
  const Filler& filler_;
  const TokenStream& plain_;
  const NeedleRows rows_;
  const std::vector<uint64_t> places_;  // row -> number of an example or, from rows_.examples on, of a plain window
  std::vector<uint64_t> windows_;       // the shuffle of epoch_
  uint64_t epoch_ = 0;
};

}  // namespace

NeedleRows needle_rows(const NeedleData& needle, Split split) {
  const uint64_t examples = split == Split::kTrain ? uint64_t(needle.examples)
                                                   : std::max<uint64_t>(uint64_t(needle.examples) / kEvaluationShare,
                                                                        kLeastEvaluationExamples);
  return {uint64_t(std::llround(double(examples) / (1 - needle.mix_share))), examples};
}

std::optional<PrepareResult> needle_already_prepared(const std::string& text_sha256, const NeedleData& needle,
                                                     const std::string& out_dir) {
  return already_prepared(out_dir, hash_of_origin(text_sha256, needle, load_mix(needle)));
}

PrepareResult prepare_needle(const PrepareSource& text, const NeedleData& needle, const std::string& out_dir) {
  require_room(needle);
  const Dataset mix = load_mix(needle);
  const Text measured = measure_text(text);
  std::string texts[3];  // by Split
  read_by_split(text, measured, [&](Split split, std::string_view piece) { texts[int(split)] += piece; });
  Filler fillers[3];
  for (Split split : kSplits) {
    const std::string& bytes = texts[int(split)];
    fillers[int(split)] = {"the split " + name_of(split) + " of " + text.name, bytes.size(),
                           [&bytes](uint64_t begin, size_t count) { return bytes.substr(begin, count); }};
    require_filler(fillers[int(split)], size_t(needle.length));
  }

  TokensJson content;
  content.tokenizer = "bytes";
  content.vocab_size = kByteVocabSize;
  content.task = kNeedleTask;
  content.source = source_name(text, needle);
  content.source_sha256 = hash_of_origin(measured.sha256, needle, mix);
  if (!text.expected_sha256.empty()) content.expected = measured.sha256 == text.expected_sha256;
  content.block_bytes = block_bytes_for(measured.bytes);
  return write_prepared(out_dir, content, [&](TokenWriters& writers) {
    for (Split split : kSplits) {
      const TokenStream plain = needle.mix.empty() ? TokenStream() : mix.split(name_of(split));
      Rows(needle, split, fillers[int(split)], plain).write(*writers[int(split)]);
    }
  });
}
