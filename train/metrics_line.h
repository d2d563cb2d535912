// Lines of a metrics.jsonl, whoever wrote it.
#pragma once

#include <istream>
#include <string>

#include "data/error.h"

inline constexpr size_t kMostMetricsLine = 1 << 20;  // bytes; train writes some thousand

// Reads the next line, without its line break; `complete` says whether it has one. False at the end of the file. Error,
// beginning with `path`, for a line longer than any that train writes: what is no text may have no end of a line at all.
inline bool next_metrics_line(std::istream& file, const std::string& path, std::string* line, bool* complete) {
  constexpr int kEnd = std::istream::traits_type::eof();
  line->clear();
  int c = file.get();
  for (; c != '\n' && c != kEnd; c = file.get()) {
    if (line->size() == kMostMetricsLine)
      throw Error("'" + path + "' has a line of more than " + std::to_string(kMostMetricsLine) +
                  " bytes; no line that train writes is that long");
    *line += static_cast<char>(c);
  }
  *complete = c == '\n';
  return *complete || !line->empty();
}
