#include "forward.h"

#include <algorithm>

#include "product.h"

namespace fastrnn::cuda {

using at::Tensor;

namespace {

constexpr int64_t most_bytes_per_chunk = 64 << 20;  // of x · W_ihᵀ; not yet measured

int64_t chunk_steps(const Direction& d) {
  const int64_t row = d.cell.input_gates * d.hidden_size * int64_t(c10::elementSize(d.accumulated));
  return std::clamp<int64_t>(most_bytes_per_chunk / (row * d.layer.batch), 1, d.layer.times);
}

void* pointer(const Tensor& t) { return t.defined() ? t.data_ptr() : nullptr; }

}  // namespace

Forward::Forward(const Direction& d)
    : direction(d), steps_per_chunk(chunk_steps(d)),
      team(forward_team(d.layer.cell, d.number, d.hidden_size, d.layer.batch, d.regime())) {
  const int64_t batch = d.layer.batch, hidden = d.hidden_size;
  from_input = d.empty_accumulated({steps_per_chunk * batch, d.cell.input_gates * hidden});
  from_state = d.empty_accumulated({batch, d.cell.recurrent_gates * hidden});
  if (d.cell.gated) from_gated = d.empty_accumulated({batch, hidden}), gated = d.empty({batch, hidden});
  if (d.projected()) unprojected = d.empty({batch, hidden});
}

States Forward::initial(const Tensor& h) const {
  const Direction& d = direction;
  States states{h, {}};
  d.h0.defined() ? states.h.copy_(d.h0) : states.h.zero_();
  if ((d.cell.carries_c || d.cell.reads_h))
    states.state = d.copy(d.cell.carries_c ? d.c0 : d.h0, {d.layer.batch, d.hidden_size}, d.accumulated);
  return states;
}

void Forward::run(Range times, States& states, const Tensor& y, const Tensor& saved, int64_t first_saved) {
  const Direction& d = direction;
  for (int64_t done = 0; done < times.size(); done += steps_per_chunk) {
    const int64_t steps = std::min(steps_per_chunk, times.size() - done);
    const int64_t begin = d.reverse() ? times.end - done - steps : times.begin + done;
    const Range chunk{begin, begin + steps};
    const Tensor products = from_input.narrow(0, 0, d.rows(chunk));
    multiply(products, d.at(d.x, chunk), d.w_ih.t());
    run_chunk(chunk, states, products, y.defined() ? d.at(y, chunk) : y,
              saved.defined() ? d.at(saved, chunk, first_saved) : saved);
  }
}

// The matrices begin with the chunk.
void Forward::run_chunk(Range chunk, States& states, const Tensor& products, const Tensor& y, const Tensor& saved) {
  const Direction& d = direction;
  if (team.blocks) {
    const Exchange exchange(d, team);
    ForwardSequence s{};
    s.step = operands(states, products, y, saved), s.times = chunk.size(), s.batch = d.layer.batch;
    s.reverse = d.reverse(), s.w_hh = d.w_hh.data_ptr(), s.team = team;
    s.exchange = pointer(exchange.memory), s.flags = static_cast<unsigned*>(pointer(exchange.flags));
    check(forward_sequence(s, d.stream));
    return;
  }
  for (int64_t i = 0; i < chunk.size(); ++i) {
    const int64_t t = d.time(chunk, i);
    step(t, states, d.at(products, t, chunk.begin), y.defined() ? d.at(y, t, chunk.begin) : y,
         saved.defined() ? d.at(saved, t, chunk.begin) : saved);
  }
}

ForwardStep Forward::operands(const States& states, const Tensor& products, const Tensor& y,
                              const Tensor& saved) const {
  const Direction& d = direction;
  ForwardStep p{};
  p.cell = &d.cell, p.number = d.number, p.hidden_size = d.hidden_size;
  p.from_input = products.data_ptr(), p.from_state = from_state.data_ptr(), p.from_gated = pointer(from_gated);
  p.b_ih = pointer(d.b_ih), p.b_hh = pointer(d.b_hh), p.state = pointer(states.state), p.gated = pointer(gated);
  p.h = d.projected() ? unprojected.data_ptr() : states.h.data_ptr();
  if (y.defined() && !d.projected()) p.y = y.data_ptr(), p.y_row = y.stride(0);
  p.saved = pointer(saved), p.saved_row = d.saved_row(), p.saves_h = d.projected();
  return p;
}

void Forward::step(int64_t t, States& states, const Tensor& x_product, const Tensor& y, const Tensor& saved) {
  const Direction& d = direction;
  const int64_t rows = d.layer.active[t];
  const Tensor h = states.h.narrow(0, 0, rows);
  multiply(from_state.narrow(0, 0, rows), h, d.w_hh.t());
  ForwardStep p = operands(states, x_product, y, saved);
  p.rows = rows;
  if (d.cell.gated) {
    check(gate_forward(p, d.stream));
    multiply(from_gated.narrow(0, 0, rows), gated.narrow(0, 0, rows), d.w_hh_gated.t());
  }
  check(cell_forward(p, d.stream));
  if (d.projected()) {
    multiply(h, unprojected.narrow(0, 0, rows), d.w_hr.t());
    if (y.defined()) y.copy_(h);
  }
}

}  // namespace fastrnn::cuda
