#include "train/nonfinite.h"

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>

using nlohmann::ordered_json;

namespace {

constexpr size_t kMostRowsInSentence = 4;

std::string place_text(const NonFinite& found) {
  std::string text;
  for (size_t coordinate : coordinates(found.index, found.shape))
    text += (text.empty() ? "(" : ", ") + std::to_string(coordinate);
  return text + "), index " + std::to_string(found.index);
}

std::string tokens_text(const TokenRows& rows, size_t row) {
  const uint64_t begin = rows.begins[row];
  return "tokens " + std::to_string(begin) + " to " + std::to_string(begin + rows.length - 1);
}

// Which rows: the one in which the number lies, or the first few of those that it was computed from.
std::string rows_text(const NonFinite& found) {
  const TokenRows& rows = found.rows;
  std::string text, of;
  if (rows.micro_batch) of += " of micro-batch " + std::to_string(*rows.micro_batch);
  if (rows.epoch) of += " in epoch " + std::to_string(*rows.epoch);
  if (found.row) {
    text = "row " + std::to_string(*found.row) + of + " is " + tokens_text(rows, *found.row);
  } else {
    const size_t shown = std::min(rows.begins.size(), kMostRowsInSentence), more = rows.begins.size() - shown;
    text = "the rows" + of + " are ";
    for (size_t row = 0; row < shown; row++) text += (row > 0 ? ", " : "") + tokens_text(rows, row);
    if (more > 0) text += " and " + std::to_string(more) + " more that metrics.jsonl lists,";
  }
  return text + " of the " + (rows.split == "train" ? "training" : "validation") + " data";
}

}  // namespace

std::string value_text(float value) { return std::isnan(value) ? "NaN" : value > 0 ? "infinity" : "-infinity"; }

std::optional<int> layer_of(const std::string& tensor) {
  const size_t at = tensor.find("h.");
  if (at == std::string::npos || (at > 0 && tensor[at - 1] != '.')) return std::nullopt;
  return std::stoi(tensor.substr(at + 2));
}

std::vector<size_t> coordinates(size_t index, const std::vector<size_t>& shape) {
  std::vector<size_t> place(shape.size());
  for (size_t d = shape.size(); d-- > 0; index /= shape[d]) place[d] = index % shape[d];
  return place;
}

std::string sentence(const NonFinite& found) {
  const std::string layer = found.layer ? "layer " + std::to_string(*found.layer) + ", " : "";
  return "update " + std::to_string(found.step) + ": the " + found.what + " is not finite: the first such number is " +
         value_text(found.value) + " in " + layer + "tensor " + found.tensor + " at " + place_text(found) + "; " +
         rows_text(found);
}

ordered_json to_json(const NonFinite& found) {
  const auto or_null = [](const auto& optional) { return optional ? ordered_json(*optional) : ordered_json(); };
  const TokenRows& rows = found.rows;
  return {{"event", "nonfinite"},
          {"step", found.step},
          {"what", found.what},
          {"tensor", found.tensor},
          {"index", found.index},
          {"place", coordinates(found.index, found.shape)},
          {"layer", or_null(found.layer)},
          {"value", value_text(found.value)},
          {"batch",
           {{"split", rows.split},
            {"epoch", or_null(rows.epoch)},
            {"micro_batch", or_null(rows.micro_batch)},
            {"row", or_null(found.row)},
            {"row_tokens", rows.length},
            {"row_begins", rows.begins}}}};
}
