// Token files for the task of key retrieval (data/needle.h): rows of `length` bytes, each an example or, for a share of
// them, a plain window of another folder, so that a model learns the language too.
//
// Row r is the bytes r length .. (r+1) length - 1 of its file, so for --seq-len `length` it is window r of the loader; a
// line break behind the last row makes that one a window too. train.bin has as many examples as asked for, val.bin and
// test.bin a twentieth of it, but at least 20; all filler comes from the file's own split of the text. With a share m of
// plain windows a file of n examples has n / (1 - m) rows, rounded. Which rows are plain, and which window of the folder's
// same split stands where, follows from shuffles by the seed; every window comes once before any comes again.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "data/prepare.h"

struct NeedleData {
  int length = 256, examples = 20000;
  uint64_t seed = 1;
  std::string mix;       // folder of plain windows, "" for none
  double mix_share = 0;  // of all rows, from 0 to below 1
};

// As prepare(), with the same guarantees; `text` is what filler is taken from. In tokens.json, "source" names all of the
// above, and "source_sha256" is the hash of all that decides the tokens: options, text and the folder's token files.
// Error also where a split of the text is shorter than the filler of one example, where the folder is none of bytes or
// has a split without a window, and where the files would become too long.
PrepareResult prepare_needle(const PrepareSource& text, const NeedleData& needle, const std::string& out_dir);

// The former result if out_dir holds intact tokens that prepare_needle made so from the text with this hash.
std::optional<PrepareResult> needle_already_prepared(const std::string& text_sha256, const NeedleData& needle,
                                                     const std::string& out_dir);

// Rows, examples among them, of each split.
struct NeedleRows {
  uint64_t all, examples;
};
NeedleRows needle_rows(const NeedleData& needle, Split split);
