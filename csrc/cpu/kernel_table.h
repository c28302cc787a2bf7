// The kernels, one set for each instruction set, and the sizes of what they keep.
#pragma once
#include "../sequence/linear.h"

namespace fastrnn {

// A forward pass that stays ready for more runs (prepared.h).
struct PreparedPass {
  void* self = nullptr;
  int threads = 1;                                 // that it was planned for
  void (*run)(void* self, int threads) = nullptr;  // on as many, or fewer
  void (*release)(void* self) = nullptr;
};

template <class T>
struct Passes {
  void (*forward)(const Problem<T>&);
  void (*forward_both)(const Problem<T>&, const Problem<T>&);  // the two directions of a layer
  void (*backward)(const Problem<T>&);
  PreparedPass (*prepare)(const Problem<T>&);  // the problem outlives it
};

struct Kernels {
  const char* name;
  Passes<float> of_float;
  Passes<float> of_bfloat16;  // float32 with weights in bfloat16
  bool rows_of_bfloat16;      // whether those take Problem::narrow_x and narrow_y
  Passes<double> of_double;
  void (*activation_float)(char which, const float* x, float* y, int64_t n);
  void (*activation_double)(char which, const double* x, double* y, int64_t n);
  PreparedPass (*prepare_linear)(const Linear&);  // which outlives it
  double (*fma_gflops)(int threads);
};

// Those of instruction_set(), which throws where there are none.
const Kernels& kernels();

// What a layer saves of a row beside what its cell does: with a projection, and with zoneout of h or of c.
struct Saves {
  bool projected = false, zoneout_h = false, zoneout_c = false;
};

// Numbers per row in Problem::saved. The same for every instruction set.
int64_t saved_width(const CellDescription& cell, int64_t hidden_size, const Saves& saves, int64_t number_size);

// Numbers per row in Problem::checkpoints, likewise.
int64_t checkpoint_width(const CellDescription& cell, int64_t hidden_size, int64_t number_size);

}  // namespace fastrnn
