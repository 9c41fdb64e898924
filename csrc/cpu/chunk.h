// What a chunk of time is made of, and a head's part of it: see ssd.cpp.
#pragma once

#include <cmath>

#include "products.h"

namespace paratime {

constexpr int64_t kRowsOfChunk = 64;  // unless a step has more
constexpr int64_t kHeads = 4;         // of a tile

template <class Element>
struct Duality {
  int64_t batch, steps, rank, groups, heads, state, size;
  const Element *query, *key;       // (batch, steps, rank, groups, state), their sequences and steps
  int64_t q_sequence, q_step, k_sequence, k_step;  // so many numbers apart
  const Element* value;                            // (batch, steps, rank, heads, size), likewise
  int64_t v_sequence, v_step;
  const Element *weight, *log_decay;               // (batch, steps, heads)
  const Element* skip;                             // (heads,)
  const Element* h0;                               // (batch, heads, state, size)
  const uint8_t* reset;                            // (batch, steps), or null

  int64_t chunk() const { return std::max<int64_t>(1, kRowsOfChunk / rank); }
  int64_t chunks() const { return (steps + chunk() - 1) / chunk(); }
  int64_t in_group() const { return heads / groups; }
  int64_t tiles() const { return (in_group() + kHeads - 1) / kHeads; }
  int64_t matrix() const { return state * size; }
  int64_t row(int64_t i, int64_t t) const { return (i * steps + t) * heads; }
};

// What the heads of a group share in a chunk of a sequence.
template <class Element>
struct Chunk {
  int64_t i, first, count, rows;  // the sequence, its first step, its steps and their rows
  Matrix<Element> q, k;           // (state, rows)
  Matrix<Element> scores;         // q^T k, (rows, rows)
  Buffer<int64_t> from, to;       // which columns each row reads: since a reset, so far

  void load(const Duality<Element>& p, int64_t sequence, int64_t number, int64_t group) {
    i = sequence, first = number * p.chunk();
    count = std::min(p.chunk(), p.steps - first), rows = count * p.rank;
    read(p, p.query + i * p.q_sequence + group * p.state, p.q_step, q);
    read(p, p.key + i * p.k_sequence + group * p.state, p.k_step, k);
    from.assign(round_up(rows, kRows), 0), to.assign(round_up(rows, kRows), 0);
    int64_t begin = 0;
    for (int64_t s = 0; s < count; ++s) {
      if (resets(p, s)) begin = s * p.rank;
      for (int64_t r = 0; r < p.rank; ++r)
        from[s * p.rank + r] = begin, to[s * p.rank + r] = (s + 1) * p.rank;
    }
    scores.shape(rows, rows);
    for_each_block<Element>(rows, rows, [&](auto& block) __attribute__((always_inline)) {
      if (block.lane >= last_of(block.i)) return;
      block.add(transposed(q), k, 0, p.state);
      block.for_each([&](int64_t r, int64_t lane, auto x) { scores.put(r, lane, x); });
    });
  }
  bool resets(const Duality<Element>& p, int64_t s) const {
    return p.reset && p.reset[i * p.steps + first + s];
  }
  // The columns that the rows of a block read.
  int64_t first_of(int64_t block) const { return from[block]; }
  int64_t last_of(int64_t block) const { return to[std::min(block + kRows, rows) - 1]; }

 private:
  void read(const Duality<Element>& p, const Element* x, int64_t step, Matrix<Element>& into) {
    into.shape(p.state, rows);
    transpose(rows, p.state, into, [&](int64_t r) {
      return x + (first + r / p.rank) * step + r % p.rank * p.groups * p.state;
    });
  }
};

// What is a head's own.
template <class Element>
struct Head {
  int64_t head;
  Buffer<double> total;            // of the log-decays since the chunk's begin or a reset, by row
  Matrix<Element> decay, mixing;   // W, and W * scores, (rows, rows)
  Matrix<Element> bounds;          // begin and end, by row
  Matrix<Element> v, x;            // values, and w times them, (rows, size)
  Element keep;

  void load(const Duality<Element>& p, const Chunk<Element>& c, int64_t number) {
    head = number;
    total.resize(c.rows);
    bounds.shape(2, c.rows);
    double sum = 0;
    bool entered = true;
    for (int64_t s = 0; s < c.count; ++s) {
      const bool resets = c.resets(p, s);
      entered = entered && !resets;
      sum = resets ? 0 : sum + p.log_decay[p.row(c.i, c.first + s) + head];
      const Element begin = entered ? std::exp(Element(sum)) : Element(0);
      for (int64_t r = s * p.rank; r < (s + 1) * p.rank; ++r)
        total[r] = sum, bounds.row(0)[r] = begin;
    }
    for (int64_t r = 0; r < c.rows; ++r)
      bounds.row(1)[r] = r < c.from[c.rows - 1] ? Element(0) : std::exp(Element(sum - total[r]));
    keep = bounds.row(0)[c.rows - 1];
    weigh(p, c);
    v.shape(c.rows, p.size), x.shape(c.rows, p.size);
    for (int64_t r = 0; r < c.rows; ++r) {
      const int64_t t = c.first + r / p.rank, part = r % p.rank * p.heads + head;
      const Element* from = p.value + c.i * p.v_sequence + t * p.v_step + part * p.size;
      const Element w = p.weight[p.row(c.i, t) + head];
      Tile{0, p.size}.template for_each_vector<Element>([&](Span s) __attribute__((always_inline)) {
        const auto numbers = paratime::load(from + s.lane, s.n);
        v.put(r, s.lane, numbers), x.put(r, s.lane, w * numbers);
      });
    }
  }
  Element begin(int64_t r) const { return bounds.row(0)[r]; }
  Element end(int64_t r) const { return bounds.row(1)[r]; }
  // Where the numbers of a row are in the output.
  int64_t place(const Duality<Element>& p, const Chunk<Element>& c, int64_t r) const {
    const int64_t step = c.i * p.steps + c.first + r / p.rank;
    return ((step * p.rank + r % p.rank) * p.heads + head) * p.size;
  }

 private:
  void weigh(const Duality<Element>& p, const Chunk<Element>& c) {
    decay.shape(c.rows, c.rows), mixing.shape(c.rows, c.rows);
    const double* sums = total.data();
    for (int64_t r = 0; r < c.rows; ++r) {
      Element* row = decay.row(r);
      const int64_t from = c.from[r], to = c.to[r];
      const double here = sums[r];
      for (int64_t j = from; j < to; ++j) row[j] = Element(here - sums[j]);
      for (int64_t lane = 0; lane < to; lane += width<Element>) {
        decay.put(r, lane, exp(decay.at(r, lane)));
        mixing.put(r, lane, decay.at(r, lane) * c.scores.at(r, lane));
      }
      for (Element* x : {row, mixing.row(r)}) {  // nothing that was not computed reaches a sum
        std::fill(x, x + from, Element(0));
        std::fill(x + to, x + decay.stride, Element(0));
      }
    }
  }
};

}  // namespace paratime
