// What the loss kernel is asked to do, as pointers and sizes. No tensor, no torch.
//
// logit[i][j] = input[i] · weight[j] + bias[j], for rows i and classes j; softmax[i][j] = e^logit[i][j] / sum over k of
// e^logit[i][k]. Every loss of one target a row is made of two numbers of the row, target_loss and spread_loss, and its
// gradient is
//
//     dlogit[i][j] = of_softmax[i] · softmax[i][j] - of_target[i] · [j == target[i]] - of_classes[i] · class_weight[j]
#pragma once
#include <stdint.h>

#include "../sequence/problem.h"

namespace fastrnn {

template <class T>
struct LossProblem {
  int threads;
  int64_t rows, features, classes;
  const T* input;         // (rows, features)
  Weights<T> weight;      // (classes, features)
  const T* bias;          // (classes), null for zeros
  const int64_t* target;  // (rows): 0 … classes - 1, or less than 0 for a row without one

  // Results, (rows).
  double* target_loss;    // -log softmax of the target, 0 without one
  double* spread_loss;    // sum over j of class_weight[j] · -log softmax[i][j]; null: not wanted
  const T* class_weight;  // (classes), null for ones

  // Null where no gradient is wanted; of_classes also where it is zero.
  const T *of_softmax, *of_target, *of_classes;  // (rows)
  T *d_input, *d_weight, *d_bias;                // each null: not wanted
};

// One per instruction set.
struct LossKernels {
  const char* name;
  void (*of_float)(const LossProblem<float>&);
  void (*of_double)(const LossProblem<double>&);
};

const LossKernels& loss_kernels();

}  // namespace fastrnn
