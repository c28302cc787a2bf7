// What a sequence kernel is asked to do: one direction of one layer, as pointers and sizes. The same for every device;
// no tensor, no torch.
#pragma once
#include <stdint.h>

#include "../cells/cell.h"

namespace fastrnn {

// A matrix row for every (time, batch row) of a sequence, wherever it lies. Padded: `step` numbers from one time to
// the next. Packed (torch's PackedSequence): the rows of a time follow those of the time before, so `packed` numbers
// for each row that came before it. One of the two is zero. A null `data` means that there is no such matrix.
template <class T>
struct Rows {
  T* data = nullptr;
  int64_t step = 0, packed = 0, row = 0;
};

// A checkpoint is followed by this many steps or more: a number of the row where an LSTM would save 40, and what is
// computed again at a time stays small too (T steps keep T/8 + 5 * 8 rows, least where the 8 is the root of T/5).
constexpr int64_t least_steps_per_checkpoint = 8;

// What a weight is stored as. The kernels compute in T; those of float32 read narrower weights as they are, and at
// inference matrices that are packed once and for all (packed.h).
enum class WeightFormat { same, bfloat16, float16, packed_float32, packed_bfloat16, packed_int8 };

template <class T>
struct Weights {
  const void* data = nullptr;
  WeightFormat format = WeightFormat::same;

  explicit operator bool() const { return data != nullptr; }
  const T* numbers() const { return static_cast<const T*>(data); }  // of format `same`
  Weights from(int64_t number) const {
    const int64_t size = format == WeightFormat::same ? int64_t(sizeof(T)) : 2;
    return {data ? static_cast<const char*>(data) + number * size : nullptr, format};
  }
};

constexpr int most_vectors = 8;

struct BFloat16 {
  uint16_t bits;  // the upper half of a float32
};

template <class T>
struct Problem {
  const CellDescription* cell;
  bool reverse;  // from the last time to the first
  int threads;

  int64_t times, batch, input_size, hidden_size;
  int64_t projection_size;  // 0: no projection
  int64_t heads = 1;        // blocks on the diagonal of each gate's part of w_hh (heads.h)
  // A row's numbers have the same bits in any batch and in any division of a sequence into parts: weights are packed
  // whatever the sizes, which is slow for few rows.
  bool same_bits;
  // Lengths: at time t the rows 0 … active[t]-1 are active (rows sorted by length, longest first), and before[t]
  // rows were active at all earlier times. `before` has times + 1 entries.
  const int64_t *active, *before;
  // Row b of the kernels is row row_of[b] of every tensor but `saved` and `checkpoints`. Null: row b.
  const int64_t* row_of;
  // (times, batch): whether row b begins anew between t - 1 and t, with start_h and start_c. Null: nowhere.
  const uint8_t* resets;
  Rows<const uint8_t> device_resets;  // the same on a GPU: in its memory, as the tensor of the call lies

  // Weights as torch lays them out: gates stacked along the first dimension. w_hh has output_size / heads columns.
  // Biases and w_hr may be null.
  Weights<T> w_ih, w_hh, b_ih, b_hh, w_hr;
  Weights<T> vectors[most_vectors];  // the cell's own, (hidden_size)
  // What rows begin with where no state is given, and after resets: (output_size), (hidden_size), null for zeros.
  Weights<T> start_h, start_c;
  const T *h0, *c0;  // (batch, output_size), (batch, hidden_size), null where none is given

  // Recurrent dropout: h_{t-1} is multiplied by it before W_hh, (batch, output_size). Null: by nothing.
  const T* recurrent_mask;
  // Zoneout: how much of h_{t-1} and of c_{t-1} a step keeps, from 0 to 1, where y and every_c have the new ones.
  // Without data: nothing.
  Rows<const T> zoneout_h, zoneout_c;

  Rows<const T> x;
  Rows<T> y;
  // Or, instead of x and y, rows of bfloat16: at inference, of kernels that multiply it (Kernels::rows_of_bfloat16).
  Rows<const BFloat16> narrow_x;
  Rows<BFloat16> narrow_y;
  Rows<T> every_c;  // c after every step, where it is wanted
  Rows<T> saved;    // what the backward pass needs of every row (see saved_width); null at inference
  // Or next to nothing is saved and the backward pass computes it again: from c before the first step of every segment
  // (see steps_per_checkpoint), (segment, batch, padded hidden_size). Null where the cell carries no c.
  T* checkpoints;
  bool recompute;  // backward only
  T *hn, *cn;

  // Backward only. Null: not given (then zero) or not wanted.
  Rows<const T> dy, devery_c;
  const T *dhn, *dcn;
  Rows<T> dx;
  bool add_to_dx;  // the other direction has already written its share
  // Weight gradients: 0 sums over the whole batch. Otherwise one sum for each group; row b is in group b % groups.
  int64_t groups;
  T *dh0, *dc0, *dw_ih, *dw_hh, *db_ih, *db_hh, *dw_hr, *dvectors[most_vectors], *dstart_h, *dstart_c;
};

}  // namespace fastrnn
