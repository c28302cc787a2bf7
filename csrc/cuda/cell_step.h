// One hidden unit of one row at one time step: its numbers read from memory, the cell of ../cells applied, the results
// written. What all kernels have in common; they differ in where the recurrent products come from.
//
// `optional`: there may be masks and several heads. Without them a step is compiled apart and does not ask.
#pragma once
#include <utility>

#include "number.h"
#include "pointwise.h"

namespace fastrnn::cuda {

// visit(g) for g = 0 … count-1, known to the compiler: arrays indexed by it stay in registers.
template <class Visit, int... g>
FASTRNN_DEVICE void each(Visit visit, std::integer_sequence<int, g...>) {
  (visit(std::integral_constant<int, g>{}), ...);
}
template <int count, class Visit>
FASTRNN_DEVICE void each(Visit visit) {
  each(visit, std::make_integer_sequence<int, count>{});
}

// Number i of a matrix or vector, 0 where there is none.
template <class T>
FASTRNN_DEVICE Scalar<Accumulated<T>> read(const void* from, int64_t i) {
  return {from ? widened(static_cast<const T*>(from)[i]) : Accumulated<T>(0)};
}
template <class T>
FASTRNN_DEVICE void write(void* to, int64_t i, Scalar<Accumulated<T>> x) {
  store(static_cast<T*>(to) + i, x.v);
}

template <class Step>
bool has_options(const Step& step) {
  return step.masks.any() || step.head_size != step.hidden_size;
}

// By how much recurrent dropout multiplies a number of h.
template <class T>
FASTRNN_DEVICE Scalar<Accumulated<T>> dropout(const Masks& masks, int64_t i) {
  return masks.recurrent ? read<T>(masks.recurrent, i) : Scalar<Accumulated<T>>{1};
}
// What a step makes of a state of which it keeps a part.
template <class A>
FASTRNN_DEVICE Scalar<A> blend(Scalar<A> part, Scalar<A> before, Scalar<A> now) {
  return part * before + (1 - part) * now;
}
// The gradient of such a state: leaves that of `now`, returns that of `before`.
template <class A>
FASTRNN_DEVICE Scalar<A> blend_backward(Scalar<A> part, Scalar<A>& d) {
  const Scalar<A> kept = part * d;
  d = (1 - part) * d;
  return kept;
}

// The state after zoneout, of the cell's own.
template <class Cell, class T>
FASTRNN_DEVICE Scalar<Accumulated<T>> zoneout_h(const ForwardStep& p, int64_t row, int64_t unit,
                                                Scalar<Accumulated<T>> h) {
  if (!p.masks.zoneout_h || p.projected) return h;
  const int64_t i = row * p.hidden_size + unit;
  return blend(read<T>(p.masks.zoneout_h, row * p.masks.zoneout_h_row + unit),
               Cell::reads_h ? read<Accumulated<T>>(p.state, i) : read<T>(p.h, i), h);
}
template <class T>
FASTRNN_DEVICE Scalar<Accumulated<T>> zoneout_c(const ForwardStep& p, int64_t row, int64_t unit,
                                                Scalar<Accumulated<T>> c) {
  if (!p.masks.zoneout_c) return c;
  return blend(read<T>(p.masks.zoneout_c, row * p.masks.zoneout_c_row + unit),
               read<Accumulated<T>>(p.state, row * p.hidden_size + unit), c);
}

// Where gate g of a unit is in a row of h · W_hhᵀ or of its gradient: of each head all gates, one after the other.
template <class Cell, bool optional = true, class Step>
FASTRNN_DEVICE int64_t place_by_head(const Step& p, int64_t row, int64_t unit, int g) {
  if (!optional) return (row * Cell::recurrent_gates + g) * p.hidden_size + unit;
  // 32 bits: a division of 64 is a call, for which registers would have to be spilled. It is 0 where there is one head,
  // and not asked for that: of `one_head ? 0 : unit / head_size` ptxas 13.0 drops the 0 (docs/adr/0045).
  const int64_t head = uint32_t(unit) / uint32_t(p.head_size);
  return row * Cell::recurrent_gates * p.hidden_size + (head * (Cell::recurrent_gates - 1) + g) * p.head_size + unit;
}

// Of W_hh · h, gate g.
template <class Cell, class T, bool optional = true>
FASTRNN_DEVICE Scalar<Accumulated<T>> from_state(const ForwardStep& p, int64_t row, int64_t unit, int g) {
  return read<Accumulated<T>>(p.from_state, place_by_head<Cell, optional>(p, row, unit, g));
}

// a: the pre-activations, each in its slot.
template <class Cell, class T>
FASTRNN_DEVICE void add_input_gates(const ForwardStep& p, int64_t row, int64_t unit, Scalar<Accumulated<T>>* a) {
  const int64_t size = p.hidden_size;
  each<Cell::input_gates>([&](auto g) {
    constexpr int slot = Cell::input_slots[g];
    a[slot] = a[slot] + read<Accumulated<T>>(p.from_input, (row * Cell::input_gates + g) * size + unit) +
              read<T>(p.b_ih, g * size + unit);
  });
}
template <class Cell, class T, class Product>
FASTRNN_DEVICE void add_recurrent_gates(const ForwardStep& p, int64_t unit, Scalar<Accumulated<T>>* a,
                                        Product product) {
  each<Cell::recurrent_gates>([&](auto g) {
    constexpr int slot = Cell::recurrent_slots[g];
    a[slot] = a[slot] + product(g) + read<T>(p.b_hh, g * p.hidden_size + unit);
  });
}

// Between the two products of a gated cell: its gates activated, kept for read_gate().
template <class Cell, class T>
FASTRNN_DEVICE void apply_gate(const ForwardStep& p, int64_t row, int64_t unit, Scalar<Accumulated<T>>* a) {
  using A = Accumulated<T>;
  const int64_t i = row * p.hidden_size + unit;
  write<T>(p.gated, i, Cell::gate(a, read<A>(p.state, i)) * dropout<T>(p.masks, i));
  each<Cell::recurrent_gates>([&](auto g) {
    constexpr int slot = Cell::recurrent_slots[g];
    write<A>(p.from_state, place_by_head<Cell>(p, row, unit, g), a[slot]);
  });
}
template <class Cell, class T, bool optional>
FASTRNN_DEVICE void read_gate(const ForwardStep& p, int64_t row, int64_t unit, Scalar<Accumulated<T>>* a) {
  using A = Accumulated<T>;
  const int64_t size = p.hidden_size;
  each<Cell::recurrent_gates>([&](auto g) {
    constexpr int slot = Cell::recurrent_slots[g];
    a[slot] = from_state<Cell, T, optional>(p, row, unit, g);
  });
  constexpr int slot = Cell::gated_slot;
  a[slot] = read<A>(p.from_input, (row * Cell::input_gates + slot) * size + unit) +
            read<T>(p.b_ih, slot * size + unit) + read<A>(p.from_gated, row * size + unit) +
            read<T>(p.b_hh, Cell::recurrent_gates * size + unit);
}

// The cell's own parameters.
template <class Cell, class T>
FASTRNN_DEVICE void read_vectors(const void* const* vectors, int64_t unit, Scalar<Accumulated<T>>* w) {
  each<Cell::vectors>([&](auto k) { w[k] = read<T>(vectors[k], unit); });
}

// The cell itself. Returns h.
template <class Cell, class T, bool optional = false>
FASTRNN_DEVICE Scalar<Accumulated<T>> apply_cell(const ForwardStep& p, int64_t row, int64_t unit,
                                                 const Scalar<Accumulated<T>>* a) {
  using A = Accumulated<T>;
  const int64_t size = p.hidden_size, i = row * size + unit;
  constexpr bool has_state = Cell::carries_c || Cell::reads_h;
  Scalar<A> save[Cell::saves + 1], w[Cell::vectors + 1], h;
  Scalar<A> state = has_state ? read<A>(p.state, i) : Scalar<A>{};
  read_vectors<Cell, T>(p.vectors, unit, w);
  Cell::forward(a, w, state, state, h, save);
  const Scalar<A> h_of_cell = h;
  if constexpr (optional) {  // the old state is read again, as holding it would take registers of every step
    if (Cell::carries_c) state = zoneout_c<T>(p, row, unit, state);
    h = zoneout_h<Cell, T>(p, row, unit, h);
  }
  const bool anew = p.resets_after.at(row);
  if constexpr (Cell::carries_c)
    write<A>(p.state, i, anew ? read<T>(p.start_c, unit) : state);
  else if constexpr (Cell::reads_h)
    write<A>(p.state, i, anew ? read<T>(p.start_h, unit) : h);
  const Scalar<A> next_h = anew && !p.projected ? read<T>(p.start_h, unit) : h;
  write<T>(p.h, i, next_h);
  if (optional && p.read) write<T>(p.read, i, next_h * dropout<T>(p.masks, i));
  if (p.y) write<T>(p.y, row * p.y_row + unit, h);
  if (Cell::carries_c && p.every_c) write<T>(p.every_c, row * p.every_c_row + unit, state);
  if (p.saved) {
    each<Cell::saves>([&](auto k) { write<A>(p.saved, row * p.saved_row + k * size + unit, save[k]); });
    if (p.projected) write<A>(p.saved, row * p.saved_row + Cell::saves * size + unit, h);
    if (optional && Cell::carries_c && p.masks.zoneout_c)
      write<A>(p.saved, row * p.saved_row + (Cell::saves + p.projected) * size + unit, state);
    if (optional && Cell::saves == 0) write<A>(p.saved, row * p.saved_row + unit, h_of_cell);
  }
  return h;
}

// d: number i of dh or dc from the steps after. Of a row that begins anew there it is left to the initial state.
template <class A>
FASTRNN_DEVICE Scalar<A> incoming(Scalar<A> d, void* left, int64_t i, bool anew) {
  if (!anew) return d;
  if (left) write<A>(left, i, read<A>(left, i) + d);
  return {A(0)};
}

// dL/dh_t from the output and from the steps after, without what came through W_hh if a kernel keeps that elsewhere.
template <class T, bool optional = false>
FASTRNN_DEVICE Scalar<Accumulated<T>> incoming_dh(const BackwardStep& p, int64_t row, int64_t unit) {
  using A = Accumulated<T>;
  const int64_t i = row * p.output_size + unit;
  Scalar<A> d = read<A>(p.dh, i);
  if (optional && p.dmasked) d = d + dropout<T>(p.masks, i) * read<A>(p.dmasked, i);
  return read<T>(p.dy, row * p.dy_row + unit) + incoming<A>(d, p.left_h, i, p.resets_after.at(row));
}

template <class T>
FASTRNN_DEVICE Scalar<Accumulated<T>> previous_h(const BackwardStep& p, int64_t row, int64_t unit) {
  const bool anew = p.resets_before.at(row);
  if (row < p.rows_before && !anew) return read<T>(p.y_before, row * p.y_row + unit);
  return p.h0 && !anew ? read<T>(p.h0, row * p.output_size + unit) : read<T>(p.start_h, unit);
}
template <class T>
FASTRNN_DEVICE Scalar<Accumulated<T>> previous_c(const BackwardStep& p, int64_t row, int64_t unit) {
  const bool anew = p.resets_before.at(row);
  if (row < p.c_rows_before && !anew) return read<Accumulated<T>>(p.c_before, row * p.c_before_row + unit);
  return p.c0 && !anew ? read<T>(p.c0, row * p.hidden_size + unit) : read<T>(p.start_c, unit);
}

// The cell's step backward from dL/dh_t; da: out the gradients of the pre-activations.
template <class Cell, class T, bool optional = false>
FASTRNN_DEVICE void apply_cell_backward(const BackwardStep& p, int64_t row, int64_t unit, Scalar<Accumulated<T>> dh,
                                        Scalar<Accumulated<T>>* da) {
  using A = Accumulated<T>;
  const int64_t size = p.hidden_size, i = row * size + unit;
  Scalar<A> save[Cell::saves + 1], w[Cell::vectors + 1], dw[Cell::vectors + 1];
  Scalar<A> h{}, h_prev{}, c_prev{}, dc{}, dh_prev{}, dh_kept{}, dc_kept{};
  read_vectors<Cell, T>(p.vectors, unit, w);
  each<Cell::saves>([&](auto k) { save[k] = read<A>(p.saved, row * p.saved_row + k * size + unit); });
  if constexpr (Cell::saves == 0)
    h = optional && p.saved ? read<A>(p.saved, row * p.saved_row + unit) : read<T>(p.y, row * p.y_row + unit);
  if (unit < p.output_size) {
    h_prev = previous_h<T>(p, row, unit);
    const int64_t place = row * p.output_size + unit;
    write<T>(p.h_before, place, optional ? h_prev * dropout<T>(p.masks, place) : h_prev);
  }
  if constexpr (Cell::carries_c) {
    c_prev = previous_c<T>(p, row, unit);
    dc = incoming(read<A>(p.dc, i), p.left_c, i, p.resets_after.at(row)) +
         read<T>(p.devery_c, row * p.devery_c_row + unit);
  }
  if constexpr (optional) {
    if (p.masks.zoneout_h && !p.dunprojected)
      dh_kept = blend_backward(read<T>(p.masks.zoneout_h, row * p.masks.zoneout_h_row + unit), dh);
    if (Cell::carries_c && p.masks.zoneout_c)
      dc_kept = blend_backward(read<T>(p.masks.zoneout_c, row * p.masks.zoneout_c_row + unit), dc);
  }
  Cell::backward(save, w, h, h_prev, c_prev, dh, dc, da, dw, dh_prev);
  if (p.d_vectors)
    each<Cell::vectors>([&](auto k) { write<A>(p.d_vectors, (row * Cell::vectors + k) * size + unit, dw[k]); });
  each<Cell::input_gates>([&](auto g) {
    constexpr int slot = Cell::input_slots[g];
    write<T>(p.d_input, (row * Cell::input_gates + g) * size + unit, da[slot]);
  });
  if (p.d_recurrent)
    each<Cell::recurrent_gates>([&](auto g) {
      constexpr int slot = Cell::recurrent_slots[g];
      write<T>(p.d_recurrent, place_by_head<Cell, optional>(p, row, unit, g), da[slot]);
    });
  if constexpr (Cell::carries_c) write<A>(p.dc, i, optional ? dc + dc_kept : dc);
  if (!p.dunprojected) write<A>(p.dh, i, optional ? dh_prev + dh_kept : dh_prev);
  if (!p.kept) return;
  const Scalar<A> kept = read<A>(p.saved, row * p.saved_row + p.kept_slot * size + unit);
  write<T>(p.kept, i, optional && Cell::gated ? kept * dropout<T>(p.masks, i) : kept);
}

template <class Cell, class T>
FASTRNN_DEVICE void apply_gate_backward(const BackwardStep& p, int64_t row, int64_t unit) {
  using A = Accumulated<T>;
  const int64_t size = p.hidden_size, i = row * size + unit;
  Scalar<A> save[Cell::saves], da[Cell::slots] = {}, dh_prev = read<A>(p.dh, i);
  each<Cell::saves>([&](auto k) { save[k] = read<A>(p.saved, row * p.saved_row + k * size + unit); });
  Cell::gate_backward(save, previous_h<T>(p, row, unit), read<A>(p.dgated, i) * dropout<T>(p.masks, i), da, dh_prev);
  write<T>(p.d_input, row * Cell::input_gates * size + unit, da[0]);
  if (p.d_recurrent) write<T>(p.d_recurrent, place_by_head<Cell>(p, row, unit, 0), da[0]);
  write<A>(p.dh, i, dh_prev);
}

}  // namespace fastrnn::cuda
