// State space duality (arXiv 2405.21060): a matrix of state (N, P) for each head, that decays by a
// number,
//
//     S[t] = a[t] S[t-1] + w[t] sum_r k[t, r] v[t, r]^T,   y[t, r] = S[t]^T q[t, r] + skip v[t, r],
//
// where a[t] = exp(log_decay[t]), and zero at a reset. Time is cut into chunks. Of a chunk the R
// rows of each step are rows of matrices that fit the cache: with decays W from row to row,
//
//     y = (W * q k^T) x + begin * (q S) + skip v,   S' = keep S + k^T (end * x),   x = w v,
//
// and the gradient is of the same kind of products. The heads of a group share queries and keys; a
// thread takes a few of them, whose gradients of those are one sum: threads change no bit.
#include "chunk.h"

namespace paratime {

// Copy a state (state, size) into the cache, or back. What lies beyond it there may have become no
// number, of no number before, and is cleared.
template <class Element>
void fetch(const Duality<Element>& p, const Element* from, Matrix<Element>& to) {
  to.shape(p.state, p.size);
  if (int64_t(to.numbers.size()) != p.matrix()) to.clear();
  for (int64_t n = 0; n < p.state; ++n)
    std::copy(from + n * p.size, from + (n + 1) * p.size, to.row(n));
}

template <class Element>
void give(const Duality<Element>& p, const Matrix<Element>& from, Element* to) {
  for (int64_t n = 0; n < p.state; ++n)
    std::copy(from.row(n), from.row(n) + p.size, to + n * p.size);
}

// rows[r] = x[r] scale[r].
template <class Element>
void scaled(const Matrix<Element>& x, const Element* scale, int64_t rows, Matrix<Element>& out) {
  out.shape(rows, x.stride);
  for (int64_t r = 0; r < rows; ++r)
    for (int64_t lane = 0; lane < x.stride; lane += width<Element>)
      out.put(r, lane, x.at(r, lane) * scale[r]);
}

// Call body(sequence, group, tile, its first head, its last) for all tiles of heads.
template <class Element, class Body>
void for_each_item(const Duality<Element>& p, int threads, const Body& body) {
  const int64_t tiles = p.tiles(), count = p.batch * p.groups * tiles;
#pragma omp parallel for num_threads(threads) if (threads > 1 && count > 1)
  for (int64_t item = 0; item < count; ++item) {
    const int64_t tile = item % tiles, group = item / tiles % p.groups, begin = group * p.in_group();
    const int64_t first = begin + tile * kHeads;
    body(item / tiles / p.groups, group, tile, first,
         std::min(first + kHeads, begin + p.in_group()));
  }
}

template <class Element>
struct Gradients {
  Element *query, *key;         // (tiles, batch, steps, rank, groups, state): sums over tiles
  Element *value;               // (batch, steps, rank, heads, size)
  Element *weight, *log_decay;  // (batch, steps, heads)
  Element* skip;                // (batch, heads)
  Element* h0;                  // (batch, heads, state, size)
};

// What a tile keeps for the gradients of a chunk.
template <class Element>
struct Pull {
  Matrix<Element> of_q, of_k, of_scores, of_scores_t;  // sums over heads, in the shapes of those
  Matrix<Element> state, d, d_t, x_t, entering;
  Matrix<Element> of_total;  // of the decays, by row

  void begin(const Duality<Element>& p, const Chunk<Element>& c) {
    of_q.shape(p.state, c.rows), of_k.shape(p.state, c.rows), of_scores.shape(c.rows, c.rows);
    of_q.clear(), of_k.clear(), of_scores.clear();
  }

  // Add what goes through a head; `later` is the gradient of the state behind the chunk, and
  // becomes that of the one before it.
  void add(const Duality<Element>& p, const Chunk<Element>& c, const Head<Element>& h,
           const Element* given, Matrix<Element>& later, const Gradients<Element>& out) {
    const int64_t head = h.head;
    d.shape(c.rows, p.size), d_t.shape(p.size, c.rows), x_t.shape(p.size, c.rows);
    of_total.shape(1, c.rows), of_total.clear();
    for (int64_t r = 0; r < c.rows; ++r)
      std::copy(given + h.place(p, c, r), given + h.place(p, c, r) + p.size, d.row(r));
    transpose(c.rows, p.size, d_t, [&](int64_t r) { return d.row(r); });
    transpose(c.rows, p.size, x_t, [&](int64_t r) { return h.x.row(r); });
    of_values(p, c, h, later, out);
    of_mixing(p, c, h);
    Element* sums = of_total.row(0);
    Element at_end = 0;
    through(p, c, state, d_t, c.q, h.bounds.row(0), of_q, [&](int64_t lane, auto x) {
      store(sums + lane, load(sums + lane, width<Element>) + x, width<Element>);
    });
    through(p, c, later, x_t, c.k, h.bounds.row(1), of_k, [&](int64_t lane, auto x) {
      store(sums + lane, load(sums + lane, width<Element>) - x, width<Element>);
      at_end += total<Element>(x);
    });
    scaled(d, h.bounds.row(0), c.rows, entering);
    Vector<Element> kept{};
    for_each_block<Element>(p.state, p.size, [&](auto& block) __attribute__((always_inline)) {
      block.add(plain(c.q), entering, 0, c.rows);
      block.for_each([&](int64_t n, int64_t lane, auto x) {
        kept += later.at(n, lane) * state.at(n, lane);
        later.put(n, lane, x + h.keep * later.at(n, lane));
      });
    });
    sums[c.rows - 1] += at_end + h.keep * total<Element>(kept);
    Element sum = 0;
    for (int64_t s = c.count - 1; s >= 0; --s) {
      for (int64_t r = s * p.rank; r < (s + 1) * p.rank; ++r) sum += sums[r];
      if (c.resets(p, s)) sum = 0;
      out.log_decay[p.row(c.i, c.first + s) + head] = sum;
    }
  }

  // Give the gradients of queries and keys.
  void finish(const Duality<Element>& p, const Chunk<Element>& c, int64_t group, int64_t tile,
              const Gradients<Element>& out) {
    of_scores_t.shape(c.rows, c.rows);
    transpose(c.rows, c.rows, of_scores_t, [&](int64_t r) { return of_scores.row(r); });
    product(p, c, c.k, of_scores_t, of_q);
    product(p, c, c.q, of_scores, of_k);
    for (int64_t r = 0; r < c.rows; ++r) {
      const int64_t step = (tile * p.batch + c.i) * p.steps + c.first + r / p.rank;
      const int64_t at = ((step * p.rank + r % p.rank) * p.groups + group) * p.state;
      for (int64_t n = 0; n < p.state; ++n) {
        out.query[at + n] = of_q.row(n)[r];
        out.key[at + n] = of_k.row(n)[r];
      }
    }
  }

 private:
  void of_values(const Duality<Element>& p, const Chunk<Element>& c, const Head<Element>& h,
                 const Matrix<Element>& later, const Gradients<Element>& out) {
    const Element skip = p.skip[h.head];
    Vector<Element> of_skip{};
    for (int64_t s = 0; s < c.count; ++s) out.weight[p.row(c.i, c.first + s) + h.head] = 0;
    for_each_block<Element>(c.rows, p.size, [&](auto& block) __attribute__((always_inline)) {
      block.add(transposed(c.k), later, 0, p.state);
      block.for_each([&](int64_t r, int64_t, auto& x) { x *= h.end(std::min(r, c.rows - 1)); });
      block.add(transposed(h.mixing), d, block.i / p.rank * p.rank, c.rows);
      block.for_each([&](int64_t r, int64_t lane, auto x) {
        if (r >= c.rows) return;
        const int64_t row = p.row(c.i, c.first + r / p.rank) + h.head;
        const auto v = h.v.at(r, lane), into = d.at(r, lane);
        store(out.value + h.place(p, c, r) + lane, p.weight[row] * x + skip * into,
              int(std::min<int64_t>(width<Element>, p.size - lane)));
        out.weight[row] += total<Element>(x * v);
        of_skip += into * v;
      });
    });
    out.skip[c.i * p.heads + h.head] += total<Element>(of_skip);
  }

  void of_mixing(const Duality<Element>& p, const Chunk<Element>& c, const Head<Element>& h) {
    Element* sums = of_total.row(0);
    for_each_block<Element>(c.rows, c.rows, [&](auto& block) __attribute__((always_inline)) {
      if (block.lane >= c.last_of(block.i)) return;
      block.add(plain(d), x_t, 0, p.size);
      block.for_each([&](int64_t r, int64_t lane, auto x) {
        if (r >= c.rows) return;
        const auto moved = x * h.mixing.at(r, lane);
        of_scores.put(r, lane, of_scores.at(r, lane) + x * h.decay.at(r, lane));
        store(sums + lane, load(sums + lane, width<Element>) - moved, width<Element>);
        sums[r] += total<Element>(moved);
      });
    });
  }

  // Add a b scale to `into`, and hand its sums with `with` over rows to body(lane, sums).
  template <class Body>
  void through(const Duality<Element>& p, const Chunk<Element>& c, const Matrix<Element>& a,
               const Matrix<Element>& b, const Matrix<Element>& with, const Element* scale,
               Matrix<Element>& into, const Body& body) {
    for_each_block<Element>(p.state, c.rows, [&](auto& block) __attribute__((always_inline)) {
      block.add(plain(a), b, 0, p.size);
      block.for_each([&](int64_t n, int64_t lane, auto x) {
        x *= load(scale + lane, width<Element>);
        into.put(n, lane, into.at(n, lane) + x);
        body(lane, x * with.at(n, lane));
      });
    });
  }

  void product(const Duality<Element>& p, const Chunk<Element>& c, const Matrix<Element>& a,
               const Matrix<Element>& b, Matrix<Element>& into) {
    for_each_block<Element>(p.state, c.rows, [&](auto& block) __attribute__((always_inline)) {
      block.add(plain(a), b, 0, c.rows);
      block.for_each([&](int64_t n, int64_t lane, auto x) {
        into.put(n, lane, into.at(n, lane) + x);
      });
    });
  }
};

// What a thread keeps in its cache.
template <class Element>
struct Workspace {
  Chunk<Element> chunk;
  Head<Element> head;
  Pull<Element> pull;
  Matrix<Element> states[kHeads];  // of the tile's heads, or their gradients
};

// `kept` (batch, chunks, heads, state, size) are the states before each chunk, and may be null.
template <class Element>
void duality_forward(const Duality<Element>& p, Element* y, Element* kept, Element* final,
                     int threads) {
  for_each_item(p, threads, [&](int64_t i, int64_t group, int64_t, int64_t first, int64_t last) {
    thread_local Workspace<Element> own;
    auto& [c, h, pull, states] = own;
    Matrix<Element>& leaving = pull.entering;
    for (int64_t head = first; head < last; ++head)
      fetch(p, p.h0 + (i * p.heads + head) * p.matrix(), states[head - first]);
    for (int64_t number = 0; number < p.chunks(); ++number) {
      c.load(p, i, number, group);
      for (int64_t head = first; head < last; ++head) {
        Matrix<Element>& state = states[head - first];
        if (kept)
          give(p, state, kept + ((i * p.chunks() + number) * p.heads + head) * p.matrix());
        h.load(p, c, head);
        for_each_block<Element>(c.rows, p.size, [&](auto& block) __attribute__((always_inline)) {
          block.add(transposed(c.q), state, 0, p.state);
          block.for_each([&](int64_t r, int64_t, auto& x) { x *= h.begin(std::min(r, c.rows - 1)); });
          block.add(plain(h.mixing), h.x, c.first_of(block.i), c.last_of(block.i));
          block.for_each([&](int64_t r, int64_t lane, auto x) {
            if (r >= c.rows) return;
            store(y + h.place(p, c, r) + lane, x + p.skip[head] * h.v.at(r, lane),
                  int(std::min<int64_t>(width<Element>, p.size - lane)));
          });
        });
        scaled(h.x, h.bounds.row(1), c.rows, leaving);
        for_each_block<Element>(p.state, p.size, [&](auto& block) __attribute__((always_inline)) {
          block.add(plain(c.k), leaving, c.from[c.rows - 1], c.rows);
          block.for_each([&](int64_t n, int64_t lane, auto x) {
            state.put(n, lane, x + h.keep * state.at(n, lane));
          });
        });
      }
    }
    for (int64_t head = first; head < last; ++head)
      give(p, states[head - first], final + (i * p.heads + head) * p.matrix());
  });
}

// d and d_final are the gradients of y and final.
template <class Element>
void duality_backward(const Duality<Element>& p, const Element* kept, const Element* d,
                      const Element* d_final, const Gradients<Element>& out, int threads) {
  for_each_item(p, threads, [&](int64_t i, int64_t group, int64_t tile, int64_t first,
                                int64_t last) {
    thread_local Workspace<Element> own;
    auto& [c, h, pull, later] = own;
    for (int64_t head = first; head < last; ++head) {
      fetch(p, d_final + (i * p.heads + head) * p.matrix(), later[head - first]);
      out.skip[i * p.heads + head] = 0;
    }
    for (int64_t number = p.chunks() - 1; number >= 0; --number) {
      c.load(p, i, number, group);
      pull.begin(p, c);
      for (int64_t head = first; head < last; ++head) {
        h.load(p, c, head);
        fetch(p, kept + ((i * p.chunks() + number) * p.heads + head) * p.matrix(), pull.state);
        pull.add(p, c, h, d, later[head - first], out);
      }
      pull.finish(p, c, group, tile, out);
    }
    for (int64_t head = first; head < last; ++head)
      give(p, later[head - first], out.h0 + (i * p.heads + head) * p.matrix());
  });
}

}  // namespace paratime

#define PARATIME_SSD(format, Element)                                                              \
  PARATIME_EXPORT void paratime_ssd_##format(                                                      \
      int64_t batch, int64_t steps, int64_t rank, int64_t groups, int64_t heads, int64_t state,    \
      int64_t size, const Element* query, const Element* key, int64_t q_sequence, int64_t q_step,  \
      int64_t k_sequence, int64_t k_step, const Element* value, int64_t v_sequence, int64_t v_step,  \
      const Element* weight,                                                                       \
      const Element* log_decay, const Element* skip, const Element* h0, const uint8_t* reset,      \
      Element* y, Element* kept, Element* final, int32_t threads) {                                \
    paratime::duality_forward<Element>(                                                            \
        {batch, steps, rank, groups, heads, state, size, query, key, q_sequence, q_step,           \
         k_sequence, k_step, value, v_sequence, v_step, weight, log_decay, skip, h0, reset},       \
        y, kept, final, threads);                                                                  \
  }                                                                                                \
  PARATIME_EXPORT void paratime_ssd_backward_##format(                                             \
      int64_t batch, int64_t steps, int64_t rank, int64_t groups, int64_t heads, int64_t state,    \
      int64_t size, const Element* query, const Element* key, int64_t q_sequence, int64_t q_step,  \
      int64_t k_sequence, int64_t k_step, const Element* value, int64_t v_sequence, int64_t v_step,  \
      const Element* weight,                                                                       \
      const Element* log_decay, const Element* skip, const Element* h0, const uint8_t* reset,      \
      const Element* kept, const Element* d, const Element* d_final, Element* d_query,             \
      Element* d_key, Element* d_value, Element* d_weight, Element* d_log_decay, Element* d_skip,  \
      Element* d_h0, int32_t threads) {                                                            \
    paratime::duality_backward<Element>(                                                           \
        {batch, steps, rank, groups, heads, state, size, query, key, q_sequence, q_step,           \
         k_sequence, k_step, value, v_sequence, v_step, weight, log_decay, skip, h0, reset},       \
        kept, d, d_final, {d_query, d_key, d_value, d_weight, d_log_decay, d_skip, d_h0},          \
        threads);                                                                                  \
  }

PARATIME_SSD(float32, float)
PARATIME_SSD(float64, double)
