// Products with int8 weights (../sequence/packed.h): a table of their own beside the kernels of kernel_table.h, since
// whether a processor has VNNI does not follow from its other instructions.
//
// A row of activations is rounded as a whole, to 255 steps from its smallest number to its largest: x is near
// middle + scale · (q - 128), q = 0 … 255. A product is
//
//   scale of the weight's row · (scale · sum over k of w (q - 128) + middle · sum over k of w)
//
// Sums of integers are exact, and the rest is done in the same order everywhere: every table gives the same bits. No
// part of it overflows while the sum over k of |w| times the largest |x| is a float32.
#pragma once
#include <stdint.h>

namespace fastrnn {

// Rows of activations, rounded, as one table wants them.
struct Int8Rows {
  char* numbers;  // `row_bytes` for each row
  int64_t row_bytes;
  float* scale;  // of each row: NaN if one of its numbers is NaN or infinite
  float* middle;
};

// Vectors of outputs with all their gates, each as wide as the table's vectors of float32.
constexpr int most_outputs = 8;
struct PackedPanel {
  const char* b[most_outputs];  // where each begins in memory
  int64_t step;                 // bytes from one group of the depth to the next
  int64_t first;                // the group of a row of A that they begin with
  int64_t depth;                // numbers of it from there on
  int gates, outputs;
  const int64_t* columns;  // of each gate in a row of C
  int tail;                // lanes of the last vector that exist in C
};

struct Int8Products {
  const char* name;
  int64_t (*row_bytes)(int64_t depth);
  void (*round)(const float* row, int64_t depth, const Int8Rows& to, int64_t i);
  // C[i] = init[i] + A[i] · Wᵀ for rows 0 … count-1.
  void (*multiply)(const PackedPanel& panel, int64_t count, const Int8Rows& a, const float* const* init,
                   float* const* c);
};

// Those of instruction_set(), with VNNI if the processor has it; not if FASTRNN_VNNI is 0.
const Int8Products& int8_products();

}  // namespace fastrnn
