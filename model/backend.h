// Which kernels the model runs on. The names and contracts are the same in every backend.
#pragma once

namespace cpu {}
namespace backend = cpu;
