// What a stream runs one after the other: recurrent layers, a linear layer, a norm, an activation.
#pragma once
#include <memory>

#include "../cpu/kernel_table.h"
#include "layer.h"

namespace fastrnn {

// Rows of float32, `row` numbers apart.
struct Input {
  const float* data;
  int64_t row;
};
struct Output {
  float* data;
  int64_t row;
};

struct How {
  int threads;       // as many as there are, or fewer
  bool rounds_rows;  // see Arguments
};

// A step of `batch` rows. All memory is taken when it is made; a step follows pointers.
class Stage {
 public:
  Stage(int64_t batch, int64_t inputs, int64_t outputs) : batch(batch), inputs(inputs), outputs(outputs) {}
  virtual ~Stage() = default;
  Stage(const Stage&) = delete;
  Stage& operator=(const Stage&) = delete;

  // y does not overlap x.
  virtual void step(Input x, Output y, How how) = 0;
  virtual int threads() const { return 1; }  // that it has a use for
  virtual double work() const { return 0; }  // multiplications and additions of a step

  const int64_t batch, inputs, outputs;  // the latter two: features
};

// Recurrent layers with packed weights, and their states.
class RecurrentStage : public Stage {
 public:
  // The arguments of InferPackedArguments, without an input or states. `initial_h` and `initial_c`, (layers, features):
  // of rows that begin; undefined for zeros. Throws c10::Error where something does not fit.
  RecurrentStage(Arguments call, int64_t num_layers, int64_t batch, at::Tensor initial_h, at::Tensor initial_c);

  void step(Input x, Output y, How how) override;
  int threads() const override;
  double work() const override;

  // Rows for which chosen(row) is true begin anew.
  template <class Chosen>
  void reset(Chosen chosen) const {
    reset(h, initial_h, chosen);
    if (c.defined()) reset(c, initial_c, chosen);
  }

  at::Tensor h, c;  // (layers, batch, features); c is undefined where the cell carries none

 private:
  struct One {
    Layer layer;
    at::Tensor output;
    Problem<float> problem;
    PreparedPass pass{}, rounding{};  // the latter only of weights in bfloat16, where it is another

    One(const Arguments& call, at::Tensor output) : layer(call), output(std::move(output)) {}
    ~One() {
      for (const PreparedPass* of : {&pass, &rounding})
        if (of->self) of->release(of->self);
    }
    double work() const;
    One(const One&) = delete;
    One& operator=(const One&) = delete;
  };

  template <class Chosen>
  static void reset(const at::Tensor& state, const at::Tensor& initial, Chosen chosen) {
    const int64_t features = state.size(2);
    const float* const first = initial.defined() ? initial.const_data_ptr<float>() : nullptr;
    float* row = static_cast<float*>(const_cast<void*>(state.const_data_ptr()));
    for (int64_t i = 0; i < state.size(0); ++i)
      for (int64_t b = 0; b < state.size(1); ++b, row += features)
        for (int64_t u = 0, n = chosen(b) ? features : 0; u < n; ++u) row[u] = first ? first[i * features + u] : 0;
  }

  at::Tensor initial_h, initial_c;
  std::vector<std::unique_ptr<One>> layers;
};

// y = b + x Wᵀ, W packed as one gate of float32 (sequence/packed.h). The bias may be undefined.
class LinearStage : public Stage {
 public:
  LinearStage(at::Tensor weight, at::Tensor bias, int64_t batch, int64_t inputs, int64_t outputs);
  ~LinearStage() override { pass.release(pass.self); }
  void step(Input x, Output y, How how) override;
  int threads() const override { return pass.threads; }
  double work() const override { return 2.0 * batch * inputs * outputs; }

 private:
  const at::Tensor weight, bias;
  Linear problem{};
  PreparedPass pass{};
};

// 'relu', 'tanh' or 'sigmoid' of every number, as the kernels compute it.
class ActivationStage : public Stage {
 public:
  ActivationStage(std::string_view name, int64_t batch, int64_t features)
      : Stage(batch, features, features), which(name[0]) {}
  void step(Input x, Output y, How how) override;

 private:
  const char which;
};

// Each row less its mean, over its standard deviation: Ba, Kiros and Hinton (2016), as torch.nn.LayerNorm. Weight and
// bias may be undefined.
class LayerNormStage : public Stage {
 public:
  LayerNormStage(at::Tensor weight, at::Tensor bias, double eps, int64_t batch, int64_t features)
      : Stage(batch, features, features), weight(std::move(weight)), bias(std::move(bias)), eps(eps) {}
  void step(Input x, Output y, How how) override;

 private:
  const at::Tensor weight, bias;
  const double eps;
};

}  // namespace fastrnn
