// Zoneout of a cell with layer normalization goes around the cell, a row at a time: such a cell is several passes over
// a row, which are the same with zoneout and without, and one more costs little while the row is in the first-level
// cache.
#pragma once
#include "sequence.h"

namespace fastrnn::FASTRNN_TARGET {

// A row of each thread, for what the cell would write over.
template <class T>
class RowOfThread {
 public:
  RowOfThread(int threads, int64_t width, bool wanted) : width(width), rows(wanted ? threads * width : 0) {}
  FASTRNN_INLINE T* operator()(const Team& team) const { return rows + team.rank * width; }

 private:
  const int64_t width;
  Buffer<T> rows;
};

template <class Cell, class T>
class ZoneoutForward {
  using V = Vec<T>;

 public:
  explicit ZoneoutForward(const Sequence<Cell, T>& sequence)
      : s(sequence), p(s.p), c_before(s.plan.threads, s.width, p.zoneout_c.data) {}

  void before_cell(const Team& team, const T* c) const {
    T* const to = c_before(team);
    for (int64_t u = 0; p.zoneout_c.data && u < s.width; u += V::lanes) V::load(c + u).store(to + u);
  }

  // h and c are those of the cell, and leave as what the step makes of them.
  void after_cell(const Team& team, int64_t t, int64_t b, const T* h_prev, T* c) const {
    T* const saved = p.saved.data ? s.saved_at(t, b) : nullptr;
    if (p.zoneout_h.data)
      blend_h(t, b, h_prev, saved && goes_back_from_h<Cell>() ? saved + s.slot_of_h * s.width : nullptr);
    if (p.zoneout_c.data) blend_c(t, b, c_before(team), c, saved ? saved + s.slot_of_c * s.width : nullptr);
  }

 private:
  void blend_h(int64_t t, int64_t b, const T* h_prev, T* saved) const {
    const T* const kept = s.kept(p.zoneout_h, t, b);
    T* const h = s.at(p.y, t, b);
    for (int64_t u = 0; u < s.hidden; u += V::lanes) {
      const int n = int(s.hidden - u);
      const V of_cell = V::load(h + u, n);
      blend(V::load(kept + u, n), V::load(h_prev + u, n), of_cell).store(h + u, n);
      if (saved) of_cell.store(saved + u);
    }
    clear_padding(saved);
  }

  void blend_c(int64_t t, int64_t b, const T* before, T* c, T* saved) const {
    const T* const kept = s.kept(p.zoneout_c, t, b);
    T* const every_c = p.every_c.data ? s.at(p.every_c, t, b) : nullptr;
    for (int64_t u = 0; u < s.hidden; u += V::lanes) {
      const int n = int(s.hidden - u);
      const V now = blend(V::load(kept + u, n), V::load(before + u), V::load(c + u));
      now.store(c + u);
      if (every_c) now.store(every_c + u, n);
      if (saved) now.store(saved + u);
    }
    clear_padding(saved);
  }

  // What an operator returns shows nothing of what memory held.
  void clear_padding(T* saved) const {
    for (int64_t u = s.vectors * V::lanes; saved && u < s.width; u += V::lanes) V{}.store(saved + u);
  }

  const Sequence<Cell, T>& s;
  const Problem<T>& p;
  RowOfThread<T> c_before;
};

// The gradients of h_t and c_t become those of the cell's own h and c, and after the cell those of h_{t-1} and c_{t-1}
// are given what was kept.
template <class Cell, class T>
class ZoneoutBackward {
  using V = Vec<T>;

 public:
  explicit ZoneoutBackward(const Sequence<Cell, T>& sequence)
      : s(sequence), p(s.p), kept_dh(s.plan.threads, s.width, p.zoneout_h.data),
        kept_dc(s.plan.threads, s.width, p.zoneout_c.data) {}

  // dh and dc take in the gradients of y and of every c too.
  void before_cell(const Team& team, int64_t t, int64_t b, T* dh, T* dc) const {
    split(p.dy.data ? s.at(p.dy, t, b) : s.zeros, s.kept(p.zoneout_h, t, b), dh, kept_dh(team));
    if (Cell::carries_c)
      split(p.devery_c.data ? s.at(p.devery_c, t, b) : s.zeros, s.kept(p.zoneout_c, t, b), dc, kept_dc(team));
  }

  void after_cell(const Team& team, T* dh, T* dc) const {
    if (p.zoneout_h.data) add(kept_dh(team), dh);
    if (p.zoneout_c.data) add(kept_dc(team), dc);
  }

 private:
  void split(const T* of_output, const T* zoneout, T* gradient, T* kept) const {
    for (int64_t u = 0; u < s.hidden; u += V::lanes) {
      const int n = int(s.hidden - u);
      V all = V::load(of_output + u, n) + V::load(gradient + u);
      if (zoneout) {
        const V m = V::load(zoneout + u, n);
        (m * all).store(kept + u);
        all = (1 - m) * all;
      }
      all.store(gradient + u);
    }
  }

  void add(const T* kept, T* gradient) const {
    for (int64_t u = 0; u < s.hidden; u += V::lanes) (V::load(gradient + u) + V::load(kept + u)).store(gradient + u);
  }

  const Sequence<Cell, T>& s;
  const Problem<T>& p;
  RowOfThread<T> kept_dh, kept_dc;
};

}  // namespace fastrnn::FASTRNN_TARGET
