// The fused recurrence h[t] = step(u[t], h[t-1]) of any cell in cells.h, and its gradient.
//
// Time is the outer loop; within a step, whole rows of neighbouring channels are read once and
// written once. The backward pass computes the gates again, from u and the stored states.
#pragma once

#include "../cells.h"
#include "tiles.h"

namespace paratime {

// B sequences of at most T steps over C channels; all tensors are contiguous.
template <class Element, class Drive>
struct Recurrence {
  int64_t batch, steps, channels;
  const Drive* u;          // (B, T, Cell::drives, C)
  const Element* weight;   // (Cell::weights, C)
  const Element* h0;       // (B, Cell::state, C)
  const uint8_t* reset;    // (B, T): where the state before a step is 0; or null
  const int64_t* lengths;  // (B,): how many steps of a sequence are valid; or null
  int threads;

  int64_t length(int64_t b) const {
    return lengths ? std::clamp<int64_t>(lengths[b], 0, steps) : steps;
  }
  bool restarts(int64_t b, int64_t t) const { return reset && reset[b * steps + t]; }

  // The rows of a step in a tensor (B, T, rows, C), or of a sequence in one (B, rows, C).
  template <class T>
  Rows<T> step(T* tensor, int rows, int64_t b, int64_t t) const {
    return {tensor ? tensor + (b * steps + t) * rows * channels : nullptr, channels};
  }
  template <class T>
  Rows<T> sequence(T* tensor, int rows, int64_t b) const {
    return {tensor + b * rows * channels, channels};
  }
};

// The state is carried in `state` (B, Cell::state, C), which ends as the final one. Its rows of the
// output are written to y (B, T, K, C), whose sequences are y_stride numbers apart, and its rows of
// memory to `memory` (B, T, Cell::memory, C), unless that is null.
template <class Cell, class Element, class Drive>
void forward(const Recurrence<Element, Drive>& p, Drive* y, int64_t y_stride, Element* memory,
             Element* state) {
  using V = Vector<Element>;
  constexpr int outputs = Cell::state - Cell::memory;
  const Rows<const Element> weight{p.weight, p.channels};
  for_each_tile(p.batch, p.channels, p.threads, [&](int64_t b, const Tile& tile) {
    const Rows<Element> carry = p.sequence(state, Cell::state, b);
    tile.copy(p.sequence(p.h0, Cell::state, b), carry, Cell::state);
    Rows<Drive> output{y + b * y_stride, p.channels};
    const int64_t length = p.length(b);
    for (int64_t t = 0; t < length; ++t, output.base += outputs * p.channels) {
      const Rows<const Drive> u = p.step(p.u, Cell::drives, b, t);
      const Rows<Element> kept = p.step(memory, Cell::memory, b, t);
      const bool restart = p.restarts(b, t);
      tile.for_each_vector<Element>([&](Span s) __attribute__((always_inline)) {
        V h[Cell::state], next[Cell::state];
        for (int i = 0; i < Cell::state; ++i) h[i] = restart ? V{} : carry.load(i, s);
        Cell::step(u.at(s), weight.at(s), h, next);
        for (int i = 0; i < Cell::state; ++i) carry.store(i, s, next[i]);
        for (int i = 0; i < outputs; ++i) output.store(i, s, next[Cell::memory + i]);
        if (memory)
          for (int i = 0; i < Cell::memory; ++i) kept.store(i, s, next[i]);
      });
    }
    for (int64_t t = length; t < p.steps; ++t, output.base += outputs * p.channels) {
      tile.fill(output, outputs, Drive{});
      if (memory) tile.fill(p.step(memory, Cell::memory, b, t), Cell::memory, Element(0));
    }
  });
}

// The gradients of a loss from g = dL/dy (B, T, K, C) and g_final = dL/dfinal; either may be null.
//
// d_h0 holds the gradient that a step hands to the one before it, and at last its namesake. The
// gradient of the weights is summed over the steps of every sequence, then over sequences.
template <class Cell, class Element, class Drive>
void backward(const Recurrence<Element, Drive>& p, const Drive* y, const Element* memory,
              const Drive* g, const Element* g_final, Drive* d_u, Element* d_weight_of_each,
              Element* d_weight, Element* d_h0) {
  using V = Vector<Element>;
  constexpr int outputs = Cell::state - Cell::memory;
  const Rows<const Element> weight{p.weight, p.channels};
  for_each_tile(p.batch, p.channels, p.threads, [&](int64_t b, const Tile& tile) {
    const Rows<Element> sum = p.sequence(d_weight_of_each, Cell::weights, b);
    const Rows<Element> carry = p.sequence(d_h0, Cell::state, b);
    const Rows<const Element> h0 = p.sequence(p.h0, Cell::state, b);
    tile.fill(sum, Cell::weights, Element(0));
    if (g_final)
      tile.copy(p.sequence(g_final, Cell::state, b), carry, Cell::state);
    else
      tile.fill(carry, Cell::state, Element(0));
    const int64_t length = p.length(b);
    for (int64_t t = length; t < p.steps; ++t)
      tile.fill(p.step(d_u, Cell::drives, b, t), Cell::drives, Drive{});
    for (int64_t t = length - 1; t >= 0; --t) {
      const Rows<const Drive> u = p.step(p.u, Cell::drives, b, t);
      const int64_t before = std::max<int64_t>(t - 1, 0);
      const Rows<const Drive> output = p.step(y, outputs, b, before);
      const Rows<const Element> kept = p.step(memory, Cell::memory, b, before);
      const Rows<const Drive> arriving = p.step(g, outputs, b, t);
      const Rows<Drive> leaving = p.step(d_u, Cell::drives, b, t);
      const bool restart = p.restarts(b, t);
      tile.for_each_vector<Element>([&](Span s) __attribute__((always_inline)) {
        V h[Cell::state], lam[Cell::state], d_h[Cell::state], d_drive[Cell::drives];
        for (int i = 0; i < Cell::state; ++i) {
          const bool inside = i < Cell::memory;
          if (restart)
            h[i] = V{};
          else if (t == 0)
            h[i] = h0.load(i, s);
          else
            h[i] = inside ? kept.load(i, s) : output.load(i - Cell::memory, s);
          lam[i] = carry.load(i, s);
          if (g && !inside) lam[i] += arriving.load(i - Cell::memory, s);
        }
        Cell::vjp(u.at(s), weight.at(s), h, lam, d_drive, d_h,
                        [&](int i, V x) __attribute__((always_inline)) {
                          sum.store(i, s, sum.load(i, s) + x);
                        });
        for (int i = 0; i < Cell::drives; ++i) leaving.store(i, s, d_drive[i]);
        for (int i = 0; i < Cell::state; ++i) carry.store(i, s, restart ? V{} : d_h[i]);
      });
    }
  });
  for_each_tile(1, p.channels, p.threads, [&](int64_t, const Tile& tile) {
    const Rows<Element> total{d_weight, p.channels};
    tile.fill(total, Cell::weights, Element(0));
    for (int64_t b = 0; b < p.batch; ++b) {
      const Rows<Element> sum = p.sequence(d_weight_of_each, Cell::weights, b);
      tile.for_each_vector<Element>([&](Span s) __attribute__((always_inline)) {
        for (int i = 0; i < Cell::weights; ++i)
          total.store(i, s, total.load(i, s) + sum.load(i, s));
      });
    }
  });
}

// One step of each of `steps` states by itself, with its Jacobian (steps, state, state, C).
template <class Cell, class Element, class Drive>
void linearize(int64_t steps, int64_t channels, const Drive* u, const Element* weight,
               const Element* h, Element* next, Element* jac) {
  using V = Vector<Element>;
  constexpr int entries = Cell::state * Cell::state;
  const Recurrence<Element, Drive> p{1, steps, channels, u, weight, h, nullptr, nullptr, 1};
  const Tile all{0, channels};
  for (int64_t t = 0; t < steps; ++t) {
    all.for_each_vector<Element>([&](Span s) {
      V before[Cell::state], after[Cell::state], slope[entries];
      for (int i = 0; i < Cell::state; ++i) before[i] = p.step(h, Cell::state, 0, t).load(i, s);
      Cell::linearize(p.step(u, Cell::drives, 0, t).at(s), Rows<const Element>{weight, channels}.at(s),
                      before, after, slope);
      for (int i = 0; i < Cell::state; ++i) p.step(next, Cell::state, 0, t).store(i, s, after[i]);
      for (int i = 0; i < entries; ++i) p.step(jac, entries, 0, t).store(i, s, slope[i]);
    });
  }
}

}  // namespace paratime
