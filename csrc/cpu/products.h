// Products of matrices that are small enough for the cache.
#pragma once

#include <new>
#include <vector>

#include "tiles.h"

namespace paratime {

// Rows of a block of a product, and vectors of each of them: the sums are registers.
constexpr int kRows = 4, kVectors = PARATIME_VECTOR_BYTES == 64 ? 4 : 2;

inline int64_t round_up(int64_t x, int64_t to) { return (x + to - 1) / to * to; }

// What vectors are read from: each is in one line of the cache.
template <class Element>
struct Aligned {
  using value_type = Element;
  static constexpr std::align_val_t line{64};

  Aligned() = default;
  template <class Other>
  Aligned(const Aligned<Other>&) {}
  Element* allocate(std::size_t n) {
    return static_cast<Element*>(::operator new(n * sizeof(Element), line));
  }
  void deallocate(Element* x, std::size_t) { ::operator delete(x, line); }
  bool operator==(const Aligned&) const { return true; }
  bool operator!=(const Aligned&) const { return false; }
};

template <class Element>
using Buffer = std::vector<Element, Aligned<Element>>;

// A matrix in the cache: rows of whole vectors, zeros beyond what it was given.
template <class Element>
struct Matrix {
  Buffer<Element> numbers;
  int64_t height = 0, breadth = 0, stride = 0;

  // Take a shape; what is in it is only left as it is if it had the shape before.
  void shape(int64_t rows, int64_t columns) {
    if (rows == height && columns == breadth) return;
    height = rows, breadth = columns;
    stride = round_up(columns, std::max(width<Element>, kRows));  // either factor may be transposed
    numbers.resize(round_up(rows, kRows) * stride);
    clear();
  }
  void clear() { std::fill(numbers.begin(), numbers.end(), Element(0)); }
  PARATIME_INLINE Element* row(int64_t i) { return numbers.data() + i * stride; }
  PARATIME_INLINE const Element* row(int64_t i) const { return numbers.data() + i * stride; }
  PARATIME_INLINE Vector<Element> at(int64_t i, int64_t lane) const {
    return load(row(i) + lane, width<Element>);
  }
  PARATIME_INLINE void put(int64_t i, int64_t lane, Vector<Element> x) {
    store(row(i) + lane, x, width<Element>);
  }
};

// A factor of a product, read number by number: this one as it is, or transposed.
template <class Element>
struct Factor {
  const Element* base;
  int64_t row, column;
};

template <class Element>
Factor<Element> plain(const Matrix<Element>& x) { return {x.row(0), x.stride, 1}; }
template <class Element>
Factor<Element> transposed(const Matrix<Element>& x) { return {x.row(0), 1, x.stride}; }

// Sums of a block of a product: kRows rows from i on, n vectors from a lane on.
template <class Element, int n>
struct Block {
  int64_t i, lane;
  Vector<Element> sum[kRows][n];

  // Add a b, of the terms in [first, last).
  PARATIME_INLINE void add(Factor<Element> a, const Matrix<Element>& b, int64_t first,
                           int64_t last) {
    const Element* scalars = a.base + i * a.row;
    for (int64_t k = first; k < last; ++k) {
      Vector<Element> terms[n];
      for (int v = 0; v < n; ++v) terms[v] = b.at(k, lane + v * width<Element>);
      for (int r = 0; r < kRows; ++r) {
        const Element x = scalars[r * a.row + k * a.column];
        for (int v = 0; v < n; ++v) sum[r][v] += x * terms[v];
      }
    }
  }
  // Call body(row, lane, sum) for each vector.
  template <class Body>
  PARATIME_INLINE void for_each(const Body& body) {
    for (int r = 0; r < kRows; ++r)
      for (int v = 0; v < n; ++v) body(i + r, lane + v * width<Element>, sum[r][v]);
  }
};

// Call body(block) for blocks of zeros that cover a matrix.
template <class Element, class Body>
PARATIME_INLINE void for_each_block(int64_t rows, int64_t columns, const Body& body) {
  constexpr int64_t one = width<Element>, wide = kVectors * one;
  int64_t lane = 0;
  for (; lane + wide <= round_up(columns, one); lane += wide)
    for (int64_t i = 0; i < rows; i += kRows) {
      Block<Element, kVectors> block{i, lane, {}};
      body(block);
    }
  for (; lane < columns; lane += one)
    for (int64_t i = 0; i < rows; i += kRows) {
      Block<Element, 1> block{i, lane, {}};
      body(block);
    }
}

// Write rows, which are where row(i) says, as columns.
template <class Element, class Row>
void transpose(int64_t rows, int64_t columns, Matrix<Element>& to, const Row& row) {
  constexpr int64_t side = 16;
  for (int64_t i = 0; i < rows; i += side) {
    const Element* from[side];
    const int64_t count = std::min(side, rows - i);
    for (int64_t k = 0; k < count; ++k) from[k] = row(i + k);
    for (int64_t j = 0; j < columns; ++j) {
      Element* into = to.row(j) + i;
      for (int64_t k = 0; k < count; ++k) into[k] = from[k][j];
    }
  }
}

}  // namespace paratime
