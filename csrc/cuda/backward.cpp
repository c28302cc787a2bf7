#include "backward.h"

#include <ATen/ops/add.h>
#include <ATen/ops/sum.h>

#include <algorithm>

#include "product.h"

namespace fastrnn::cuda {

using at::Tensor;

namespace {

constexpr int64_t most_bytes_per_chunk = 256 << 20;  // of the gates' gradients; not yet measured

int64_t chunk_steps(const Direction& d, bool recompute) {
  if (recompute) return steps_per_checkpoint(d.layer.batch);
  const int64_t row = d.cell.input_gates * d.hidden_size * int64_t(c10::elementSize(d.layer.dtype));
  return std::clamp<int64_t>(most_bytes_per_chunk / (row * d.layer.batch), 1, d.layer.times);
}

void* pointer(const Tensor& t) { return t.defined() ? t.data_ptr() : nullptr; }

// Where to add up a gradient: in the gradient itself, if that is wide enough.
Tensor sum_for(const Direction& d, const Tensor& gradient) {
  if (!gradient.defined() || gradient.scalar_type() == d.accumulated) return gradient;
  return d.empty_accumulated(gradient.sizes());
}

void round_to(const Tensor& gradient, const Tensor& sum) {
  if (gradient.defined()) gradient.copy_(sum);
}

}  // namespace

Backward::Backward(const Direction& d, const DirectionGradients& g, const Tensor& saved, bool recompute)
    : direction(d), gradients(g), saved(saved), recompute(recompute), steps_per_chunk(chunk_steps(d, recompute)),
      team(backward_team(d.layer.cell, d.number, d.hidden_size, d.layer.batch, d.regime())),
      sum_ih(sum_for(d, g.dw_ih)), sum_hh(sum_for(d, g.dw_hh)), sum_b_ih(sum_for(d, g.db_ih)),
      sum_b_hh(sum_for(d, g.db_hh)), sum_hr(sum_for(d, g.dw_hr)) {
  const int64_t batch = d.layer.batch, rows = std::min(steps_per_chunk * batch, d.layer.rows), hidden = d.hidden_size;
  dh = d.copy(g.dhn, {batch, d.output_size}, d.accumulated);
  if (d.cell.carries_c) dc = d.copy(g.dcn, {batch, hidden}, d.accumulated);
  if (d.cell.gated) dgated = d.empty_accumulated({batch, hidden});
  if (d.projected()) dunprojected = d.empty_accumulated({batch, hidden}), doutput = d.empty({rows, d.output_size});
  d_input = d.empty({rows, d.cell.input_gates * hidden});
  if (d.cell.separate_gradients) d_recurrent = d.empty({rows, d.cell.recurrent_gates * hidden});
  h_before = d.empty({rows, d.output_size});
  if (d.cell.gated || d.projected()) kept = d.empty({rows, hidden});
  chunk_saved = saved;
  if (recompute) again.emplace(d), chunk_saved = d.empty_accumulated({rows, d.saved_row()});
}

void Backward::run() {
  const Direction& d = direction;
  const int64_t chunks = d.pieces(steps_per_chunk);
  for (int64_t n = chunks - 1; n >= 0; --n) {
    const Range chunk = d.piece(n, steps_per_chunk);
    if (recompute) compute_again(n, chunk);
    run_chunk(chunk);
    products_over_time(chunk, n == chunks - 1);
  }
  const DirectionGradients& g = gradients;
  round_to(g.dh0, dh), round_to(g.dc0, dc);
  round_to(g.dw_ih, sum_ih), round_to(g.dw_hh, sum_hh), round_to(g.dw_hr, sum_hr);
  round_to(g.db_ih, sum_b_ih), round_to(g.db_hh, sum_b_hh);
}

// What forward would have saved of a chunk: from the h that it returned and the state that it kept.
void Backward::compute_again(int64_t piece, Range times) {
  const Direction& d = direction;
  chunk_state = saved[piece];
  const int64_t first = d.time(times, 0), rows = d.rows_before(first);
  States states{d.copy(d.h0, {d.layer.batch, d.output_size}, d.layer.dtype), chunk_state.clone()};
  if (rows > 0) states.h.narrow(0, 0, rows).copy_(d.at(d.y, d.previous(first)).narrow(0, 0, rows));
  again->run(times, states, Tensor(), chunk_saved, times.begin);
}

Tensor Backward::h_before_time(int64_t t) const {
  const int64_t rows = direction.rows_before(t);
  return rows ? direction.at(direction.y, direction.previous(t)).narrow(0, 0, rows) : Tensor();
}

Tensor Backward::c_before_time(int64_t t, Range chunk) const {
  const Direction& d = direction;
  const int64_t before = d.previous(t);
  if (!d.cell.carries_c) return {};
  if (recompute && (before < chunk.begin || before >= chunk.end)) return chunk_state;
  if (!d.rows_before(t)) return {};
  return d.at(chunk_saved, before, recompute ? chunk.begin : 0)
      .narrow(1, (d.cell.saves - 1) * d.hidden_size, d.hidden_size)
      .narrow(0, 0, d.rows_before(t));
}

BackwardStep Backward::operands(Range times, Range chunk) const {
  const Direction& d = direction;
  BackwardStep p{};
  p.cell = &d.cell, p.number = d.number, p.hidden_size = d.hidden_size, p.output_size = d.output_size;
  if (d.cell.saves)
    p.saved = d.at(chunk_saved, times, recompute ? chunk.begin : 0).data_ptr(), p.saved_row = d.saved_row();
  p.y = d.at(d.y, times).const_data_ptr(), p.y_row = d.y.stride(0);
  p.h0 = pointer(d.h0), p.c0 = pointer(d.c0);
  if (gradients.dy.defined()) p.dy = d.at(gradients.dy, times).data_ptr(), p.dy_row = gradients.dy.stride(0);
  p.dh = dh.data_ptr(), p.dc = pointer(dc), p.dgated = pointer(dgated);
  auto of_times = [&](const Tensor& rows) {
    return rows.defined() ? d.at(rows, times, chunk.begin).data_ptr() : nullptr;
  };
  p.d_input = of_times(d_input), p.d_recurrent = of_times(d_recurrent);
  p.h_before = of_times(h_before), p.kept = of_times(kept), p.kept_slot = d.kept_slot();
  return p;
}

void Backward::run_chunk(Range chunk) {
  const Direction& d = direction;
  if (!team.blocks) {
    for (int64_t i = chunk.size() - 1; i >= 0; --i) step(d.time(chunk, i), chunk);
    return;
  }
  const int64_t first = d.time(chunk, 0);
  const Tensor h = h_before_time(first), c = c_before_time(first, chunk);
  const Exchange exchange(d, team);
  BackwardSequence s{};
  s.step = operands(chunk, chunk), s.times = chunk.size(), s.batch = d.layer.batch, s.reverse = d.reverse();
  s.w_hh = d.w_hh.data_ptr(), s.exchange = pointer(exchange.memory);
  s.flags = static_cast<unsigned*>(pointer(exchange.flags));
  s.y_before = pointer(h), s.c_before = pointer(c), s.c_before_row = c.defined() ? c.stride(0) : 0, s.team = team;
  check(backward_sequence(s, d.stream));
}

void Backward::step(int64_t t, Range chunk) {
  const Direction& d = direction;
  const int64_t rows = d.layer.active[t], recurrent = d.cell.recurrent_gates * d.hidden_size;
  const Tensor dh_rows = dh.narrow(0, 0, rows), di = d.at(d_input, t, chunk.begin);
  const Tensor da = d.at(dgates_for_state(), t, chunk.begin).narrow(1, 0, recurrent);
  const Tensor h = h_before_time(t), c = c_before_time(t, chunk);
  BackwardStep p = operands({t, t + 1}, chunk);
  p.rows = rows, p.rows_before = d.rows_before(t), p.y_before = pointer(h);
  if (c.defined()) p.c_before = c.data_ptr(), p.c_before_row = c.stride(0), p.c_rows_before = c.size(0);
  if (d.projected())
    p.dunprojected =
        through_projection(t, chunk, gradients.dy.defined() ? d.at(gradients.dy, t) : Tensor(), dh_rows).data_ptr();

  check(cell_backward(p, d.stream));
  if (d.cell.gated) {
    multiply(dgated.narrow(0, 0, rows), di.narrow(1, recurrent, d.hidden_size), d.w_hh_gated);
    check(gate_backward(p, d.stream));
  }
  // What is left in dh passes by W_hh; before a projection nothing does.
  if (p.rows_before > 0 || gradients.dh0.defined()) multiply(dh_rows, da, d.w_hh, !d.projected());
}

// h = W_hr m: dm = (dy + dh) · W_hr.
Tensor Backward::through_projection(int64_t t, Range chunk, const Tensor& dy, const Tensor& dh_rows) {
  Tensor sum = direction.at(doutput, t, chunk.begin);
  dy.defined() ? at::add_out(sum, dh_rows, dy) : sum.copy_(dh_rows);
  const Tensor dm = dunprojected.narrow(0, 0, dh_rows.size(0));
  multiply(dm, sum, direction.w_hr);
  return dm;
}

void Backward::products_over_time(Range chunk, bool first) {
  const Direction& d = direction;
  auto of_chunk = [&](const Tensor& rows) { return rows.narrow(0, 0, d.rows(chunk)); };
  const Tensor di = of_chunk(d_input), da = of_chunk(dgates_for_state());
  const int64_t recurrent = d.cell.recurrent_gates * d.hidden_size;
  if (gradients.dx.defined()) multiply(d.at(gradients.dx, chunk), di, d.w_ih, gradients.add_to_dx);
  if (sum_ih.defined()) multiply(sum_ih, di.t(), d.at(d.x, chunk), !first);
  if (sum_hh.defined()) {
    multiply(sum_hh.narrow(0, 0, recurrent), da.narrow(1, 0, recurrent).t(), of_chunk(h_before), !first);
    if (d.cell.gated)
      multiply(sum_hh.narrow(0, recurrent, d.hidden_size), di.narrow(1, recurrent, d.hidden_size).t(), of_chunk(kept),
               !first);
  }
  if (sum_hr.defined()) multiply(sum_hr, of_chunk(doutput).t(), of_chunk(kept), !first);
  auto add_up = [&](const Tensor& sum, const Tensor& rows) {
    if (!sum.defined()) return;
    const Tensor of_rows = at::sum(rows, at::IntArrayRef{0}, false, d.accumulated);
    first ? sum.copy_(of_rows) : sum.add_(of_rows);
  };
  add_up(sum_b_ih, di);
  add_up(sum_b_hh, da.narrow(1, 0, d.cell.gated ? da.size(1) : recurrent));
}

}  // namespace fastrnn::cuda
