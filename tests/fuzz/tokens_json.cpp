// Input: a tokens.json.
#include "data/tokens_json.h"

#include "tests/fuzz/fuzz.h"

void fuzz_tokens_json(std::string_view input) {
  TokensJson content;
  if (!accepts([&] { content = parse_tokens_json(input, "F"); })) return;
  require(content.vocab_size > 0, "a vocabulary is not empty");
  require(parse_tokens_json(tokens_json_text(content), "F") == content, "it is read as written");
}
