// The texts that prepare knows by name; data/corpus.sh gets them. The hash and size are those of the text on which the
// README's losses were measured: another release of the same package may differ.
#pragma once

#include <cstdint>

struct Corpus {
  const char* name;
  const char* what;
  const char* licence;
  uint64_t bytes;
  const char* sha256;
};

constexpr Corpus kCorpora[] = {
    {"kjv", "the King James Bible, one verse a line (Debian: bible-kjv, bible-kjv-text 4.38)", "public domain", 4137850,
     "b5c4940bcfeee072c0935b5200d0f9d88a00a0199cb0961d16133458fcdfae5d"},
    {"gcide", "a dictionary of English, mostly Webster's of 1913 (Debian: dict-gcide 0.48.5)",
     "GPL, version 2 or later", 39952321, "802beb667e1fb666203e750f1faea60d5c202ac5430c2083c4180494609f10a7"},
    {"tinyshakespeare", "40,000 lines of Shakespeare, as char-rnn and nanoGPT use it", "public domain", 1115394,
     "86c4e6aa9db7c042ec79f339dcb96d42b0075e16b8fc2e86bf0ca57e2dc565ed"},
};
