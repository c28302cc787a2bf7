// gensim's vectors_lockf: a factor for each word that scales the changes of its vector; 0 freezes the vector.
//
// A window trains copies of the rows whose factor is not 1, and then moves the rows by that factor towards the copies.
// So a frozen row is never written to, even while other workers train, and windows without such rows only read the
// factors.
#pragma once
#include "window.h"

namespace fastrnn::FASTRNN_TARGET {

struct LockedRows {
  float** row;  // the rows of a window's inputs (CBOW: of its context)
  float* copy;
};

// Makes the window use copies of locked rows.
template <bool skip_gram>
inline void copy_locked(const Training& t, const Window& w, const LockedRows& locked) {
  float** rows = skip_gram ? w.input : w.context;
  const int count = skip_gram ? w.inputs : w.contexts;
  for (int i = 0; i < count; ++i) {
    float* row = locked.row[i] = rows[i];
    if (t.lock[(row - t.syn0) / t.width] == 1) continue;
    int first = 0;  // a word that occurs twice has one copy
    while (locked.row[first] != row) ++first;
    rows[i] = locked.copy + first * t.width;
    if (first == i) __builtin_memcpy(rows[i], row, t.width * sizeof(float));
  }
}

// Moves the rows towards their trained copies.
template <bool skip_gram>
inline void move_locked(const Training& t, const Window& w, const LockedRows& locked) {
  float** rows = skip_gram ? w.input : w.context;
  const int count = skip_gram ? w.inputs : w.contexts;
  for (int i = 0; i < count; ++i) {
    float *row = locked.row[i], *copy = locked.copy + i * t.width;
    const float factor = t.lock[(row - t.syn0) / t.width];
    if (rows[i] != copy || factor == 0) continue;
    for (int64_t k = 0; k < t.width; ++k) row[k] += factor * (copy[k] - row[k]);
  }
}

}  // namespace fastrnn::FASTRNN_TARGET
