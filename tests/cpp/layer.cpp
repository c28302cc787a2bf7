// One direction of a layer by the CPU's kernels alone: no torch, no Python. See test_without_torch.py.
//
// Standard input, in the machine's own number formats: an int64 of every field of Sizes; the lengths of the rows,
// int64 each, longest first; then arrays until the end: a name of 8 characters padded with spaces, an int64 count, and
// so many numbers of the format that `number_size` names. They are called as in Problem; an array that is not given is
// null there. Standard output: the results, as arrays likewise.
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <map>
#include <string>
#include <vector>

#include "../../csrc/cells/registry.h"
#include "../../csrc/cpu/kernel_table.h"

namespace fastrnn {

namespace {

struct Sizes {
  int64_t cell;  // its place in the table
  int64_t number_size, reverse, threads, times, batch, input_size, hidden_size, projection_size, recompute;
};

void read(void* to, size_t bytes) {
  if (fread(to, 1, bytes, stdin) != bytes) {
    fprintf(stderr, "the input ends too early\n");
    exit(2);
  }
}

template <class T>
class Arrays {
 public:
  // Those of standard input.
  void read_all() {
    char name[9] = {};
    while (fread(name, 1, 8, stdin) == 8) {
      int64_t count;
      read(&count, sizeof count);
      read(make(std::string(name).substr(0, strcspn(name, " ")), count), count * sizeof(T));
    }
  }
  T* make(const std::string& name, int64_t count) {
    arrays[name].assign(count, T(-99));  // what a kernel forgets to write is seen
    return arrays[name].data();
  }
  T* find(const std::string& name) {
    const auto found = arrays.find(name);
    return found == arrays.end() ? nullptr : found->second.data();
  }
  void write(const std::string& name) {
    const auto found = arrays.find(name);
    if (found == arrays.end()) return;
    const int64_t count = int64_t(found->second.size());
    printf("%-8s", name.c_str());
    fwrite(&count, sizeof count, 1, stdout);
    fwrite(found->second.data(), sizeof(T), count, stdout);
  }

 private:
  std::map<std::string, std::vector<T>> arrays;
};

// Rows one after the other, those of a time after those of the time before.
template <class T, class Number>
Rows<T> packed(Number* data, int64_t width) {
  return {data, 0, width, width};
}

template <class T>
void run(const Sizes& sizes, const std::vector<int64_t>& lengths, const Passes<T>& passes) {
  const CellDescription& cell = *all_cells().at(sizes.cell);
  std::vector<int64_t> active(sizes.times), before(sizes.times + 1);
  for (int64_t t = 0; t < sizes.times; ++t) {
    for (const int64_t length : lengths) active[t] += t < length;
    before[t + 1] = before[t] + active[t];
  }
  Arrays<T> a;
  a.read_all();
  const int64_t rows = before[sizes.times], hidden = sizes.hidden_size;
  const int64_t output = sizes.projection_size ? sizes.projection_size : hidden;
  const Saves saves{sizes.projection_size != 0, a.find("zone_h") != nullptr, a.find("zone_c") != nullptr};
  const int64_t saved = saved_width(cell, hidden, saves, sizeof(T));
  Problem<T> p{};
  p.cell = &cell, p.reverse = sizes.reverse, p.threads = int(sizes.threads);
  p.times = sizes.times, p.batch = sizes.batch, p.input_size = sizes.input_size, p.hidden_size = hidden;
  p.projection_size = sizes.projection_size;
  p.active = active.data(), p.before = before.data();
  p.w_ih.data = a.find("w_ih"), p.w_hh.data = a.find("w_hh"), p.w_hr.data = a.find("w_hr");
  p.b_ih.data = a.find("b_ih"), p.b_hh.data = a.find("b_hh");
  for (int k = 0; k < cell.vectors; ++k) p.vectors[k].data = a.find("vector" + std::to_string(k));
  p.h0 = a.find("h0"), p.c0 = a.find("c0");
  p.recurrent_mask = a.find("mask");
  p.zoneout_h = packed<const T>(a.find("zone_h"), output), p.zoneout_c = packed<const T>(a.find("zone_c"), hidden);
  p.x = packed<const T>(a.find("x"), sizes.input_size);
  p.y = packed<T>(a.make("y", rows * output), output);
  p.hn = a.make("hn", sizes.batch * output);
  if (cell.carries_c) p.cn = a.make("cn", sizes.batch * hidden);
  if (sizes.recompute && cell.recomputable()) {
    const int64_t checkpoints = (sizes.times - 1) / least_steps_per_checkpoint + 1;
    p.recompute = true;
    if (cell.carries_c)
      p.checkpoints = a.make("kept", checkpoints * sizes.batch * checkpoint_width(cell, hidden, sizeof(T)));
  } else if (saved) {
    p.saved = packed<T>(a.make("saved", rows * saved), saved);
  }
  passes.forward(p);

  const int64_t input_gates = cell.input_gates, gates = cell.gates_of_state();
  p.dy = packed<const T>(a.find("dy"), output);
  p.dhn = a.find("dhn"), p.dcn = a.find("dcn");
  p.dx = packed<T>(a.make("dx", rows * sizes.input_size), sizes.input_size);
  p.dh0 = a.make("dh0", sizes.batch * output);
  if (cell.carries_c) p.dc0 = a.make("dc0", sizes.batch * hidden);
  p.dw_ih = a.make("dw_ih", input_gates * hidden * sizes.input_size);
  p.dw_hh = a.make("dw_hh", gates * hidden * output);
  if (p.b_ih) p.db_ih = a.make("db_ih", input_gates * hidden), p.db_hh = a.make("db_hh", gates * hidden);
  if (p.w_hr) p.dw_hr = a.make("dw_hr", output * hidden);
  for (int k = 0; k < cell.vectors; ++k)
    p.dvectors[k] = a.make("dvector" + std::to_string(k), cell.vector_size(k) * hidden);
  passes.backward(p);
  for (const char* name : {"y", "hn", "cn", "dx", "dh0", "dc0", "dw_ih", "dw_hh", "db_ih", "db_hh", "dw_hr"})
    a.write(name);
  for (int k = 0; k < cell.vectors; ++k) a.write("dvector" + std::to_string(k));
}

}  // namespace
}  // namespace fastrnn

int main(int count, char** arguments) {
  using namespace fastrnn;
  if (count == 2 && !strcmp(arguments[1], "cells")) {  // their names, in the order of the table
    for (const CellDescription* cell : all_cells()) puts(cell->name);
    return 0;
  }
  Sizes sizes;
  read(&sizes, sizeof sizes);
  std::vector<int64_t> lengths(sizes.batch);
  read(lengths.data(), lengths.size() * sizeof(int64_t));
  if (sizes.number_size == 8)
    run<double>(sizes, lengths, kernels().of_double);
  else
    run<float>(sizes, lengths, kernels().of_float);
}
