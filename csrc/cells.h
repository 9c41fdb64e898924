// The built-in recurrences, once each, for g++ and nvcc, on a number or a vector of lanes V.
//
// A lane is a channel: K numbers of the state that read each other. Drives u and weights are read
// by row, u(row) and w(row), and a gradient of a weight is handed to add(row, value), so that a
// cell knows nothing of how rows are stored. Rows are those of the tensors: gate g and number i
// of a drive are row g K + i, entry [g, i, j] of weight_hh is row (g K + i) K + j, and the rows of
// the LSTM's peepholes follow its weight_hh.
//
// The state is `memory` rows that stay inside the cell, then the rows of the output. Each cell has
//   step(u, w, h, next)                   the state after one step,
//   linearize(u, w, h, next, jac)         and its Jacobian, jac[i * state + j] = dnext_i / dh_j,
//   vjp(u, w, h, lam, du, dh, add)  the gradients of sum_i lam_i next_i.
#pragma once

#include "activations.h"

namespace paratime {

// z = sigmoid(u_z + A_z h), r = sigmoid(u_r + A_r h), c = tanh(u_c + A_c (h * r)),
// next = (1 - z) * h + z * c.
template <int K>
struct Gru {
  static constexpr int drives = 3 * K, state = K, memory = 0, weights = 3 * K * K;

  template <class V>
  struct Gates {
    V z[K], r[K], c[K];

    template <class U, class W>
    PARATIME_INLINE Gates(const U& u, const W& w, const V* h) {
      V gated[K];
      for (int i = 0; i < K; ++i) {
        V x = u(K + i);
        for (int j = 0; j < K; ++j) x += w((K + i) * K + j) * h[j];
        r[i] = sigmoid(x);
        gated[i] = h[i] * r[i];
      }
      for (int i = 0; i < K; ++i) {
        V x = u(i), y = u(2 * K + i);
        for (int j = 0; j < K; ++j) {
          x += w(i * K + j) * h[j];
          y += w((2 * K + i) * K + j) * gated[j];
        }
        z[i] = sigmoid(x);
        c[i] = tanh(y);
      }
    }

    PARATIME_INLINE V next(const V* h, int i) const { return (1 - z[i]) * h[i] + z[i] * c[i]; }
  };

  template <class V, class U, class W>
  static PARATIME_INLINE void step(const U& u, const W& w, const V* h, V* next) {
    const Gates<V> gates(u, w, h);
    for (int i = 0; i < K; ++i) next[i] = gates.next(h, i);
  }

  template <class V, class U, class W>
  static PARATIME_INLINE void linearize(const U& u, const W& w, const V* h, V* next, V* jac) {
    const Gates<V> gates(u, w, h);
    const V *z = gates.z, *r = gates.r, *c = gates.c;
    for (int i = 0; i < K; ++i) {
      next[i] = gates.next(h, i);
      const V d_z = (c[i] - h[i]) * z[i] * (1 - z[i]), d_c = z[i] * (1 - c[i] * c[i]);
      for (int j = 0; j < K; ++j) {
        V through_r = w((2 * K + i) * K + j) * r[j];
        for (int l = 0; l < K; ++l) {
          const V d_r = h[l] * r[l] * (1 - r[l]);
          through_r += w((2 * K + i) * K + l) * d_r * w((K + l) * K + j);
        }
        jac[i * K + j] = d_z * w(i * K + j) + d_c * through_r;
      }
      jac[i * K + i] += 1 - z[i];
    }
  }

  template <class V, class U, class W, class Add>
  static PARATIME_INLINE void vjp(const U& u, const W& w, const V* h, const V* lam, V* du,
                                        V* dh, Add&& add) {
    const Gates<V> gates(u, w, h);
    const V *z = gates.z, *r = gates.r, *c = gates.c;
    V *d_z = du, *d_r = du + K, *d_c = du + 2 * K;
    for (int i = 0; i < K; ++i) {
      d_z[i] = lam[i] * (c[i] - h[i]) * z[i] * (1 - z[i]);
      d_c[i] = lam[i] * z[i] * (1 - c[i] * c[i]);
      dh[i] = lam[i] * (1 - z[i]);
    }
    for (int j = 0; j < K; ++j) {
      const V gated = h[j] * r[j];
      V d_gated = V{};
      for (int i = 0; i < K; ++i) {
        d_gated += w((2 * K + i) * K + j) * d_c[i];
        add((2 * K + i) * K + j, d_c[i] * gated);
      }
      d_r[j] = d_gated * gated * (1 - r[j]);
      dh[j] += d_gated * r[j];
    }
    for (int i = 0; i < K; ++i)
      for (int j = 0; j < K; ++j) {
        dh[j] += w(i * K + j) * d_z[i] + w((K + i) * K + j) * d_r[i];
        add(i * K + j, d_z[i] * h[j]);
        add((K + i) * K + j, d_r[i] * h[j]);
      }
  }
};

// f = sigmoid(u_f + A_f h + p_f * c), g = tanh(u_g + A_g h), c' = f * c + (1 - f) * g,
// o = sigmoid(u_o + A_o h + p_o * c'), h' = o * tanh(c'); state c, then h.
template <int K>
struct Lstm {
  static constexpr int drives = 3 * K, state = 2 * K, memory = K, weights = 3 * K * K + 2 * K;
  static constexpr int peephole_f = 3 * K * K, peephole_o = peephole_f + K;

  template <class V>
  struct Gates {
    V f[K], g[K], o[K], cell[K], squashed[K];

    template <class U, class W>
    PARATIME_INLINE Gates(const U& u, const W& w, const V* s) {
      const V *c = s, *h = s + K;
      for (int i = 0; i < K; ++i) {
        V x = u(i) + w(peephole_f + i) * c[i], y = u(K + i), q = u(2 * K + i);
        for (int j = 0; j < K; ++j) {
          x += w(i * K + j) * h[j];
          y += w((K + i) * K + j) * h[j];
          q += w((2 * K + i) * K + j) * h[j];
        }
        f[i] = sigmoid(x);
        g[i] = tanh(y);
        cell[i] = f[i] * c[i] + (1 - f[i]) * g[i];
        squashed[i] = tanh(cell[i]);
        o[i] = sigmoid(q + w(peephole_o + i) * cell[i]);
      }
    }

    PARATIME_INLINE void store(V* next) const {
      for (int i = 0; i < K; ++i) {
        next[i] = cell[i];
        next[K + i] = o[i] * squashed[i];
      }
    }
  };

  template <class V, class U, class W>
  static PARATIME_INLINE void step(const U& u, const W& w, const V* h, V* next) {
    Gates<V>(u, w, h).store(next);
  }

  template <class V, class U, class W>
  static PARATIME_INLINE void linearize(const U& u, const W& w, const V* s, V* next, V* jac) {
    const Gates<V> gates(u, w, s);
    gates.store(next);
    const V *f = gates.f, *g = gates.g, *o = gates.o, *t = gates.squashed;
    for (int i = 0; i < K; ++i) {
      const V d_f = (s[i] - g[i]) * f[i] * (1 - f[i]), d_g = (1 - f[i]) * (1 - g[i] * g[i]);
      const V d_o = t[i] * o[i] * (1 - o[i]);
      const V d_cell = o[i] * (1 - t[i] * t[i]) + d_o * w(peephole_o + i);
      V *of_c = jac + i * state, *of_h = jac + (K + i) * state;
      for (int j = 0; j < K; ++j) {
        of_c[j] = V{};
        of_c[K + j] = d_f * w(i * K + j) + d_g * w((K + i) * K + j);
        of_h[K + j] = d_cell * of_c[K + j] + d_o * w((2 * K + i) * K + j);
      }
      of_c[i] = f[i] + d_f * w(peephole_f + i);
      for (int j = 0; j < K; ++j) of_h[j] = d_cell * of_c[j];
    }
  }

  template <class V, class U, class W, class Add>
  static PARATIME_INLINE void vjp(const U& u, const W& w, const V* s, const V* lam,
                                        V* du, V* d_state, Add&& add) {
    const Gates<V> gates(u, w, s);
    const V *f = gates.f, *g = gates.g, *o = gates.o, *t = gates.squashed;
    const V *c = s, *h = s + K;
    V *d_f = du, *d_g = du + K, *d_o = du + 2 * K;
    for (int i = 0; i < K; ++i) {
      d_o[i] = lam[K + i] * t[i] * o[i] * (1 - o[i]);
      const V d_cell = lam[i] + lam[K + i] * o[i] * (1 - t[i] * t[i]) + w(peephole_o + i) * d_o[i];
      d_f[i] = d_cell * (c[i] - g[i]) * f[i] * (1 - f[i]);
      d_g[i] = d_cell * (1 - f[i]) * (1 - g[i] * g[i]);
      d_state[i] = d_cell * f[i] + w(peephole_f + i) * d_f[i];
      add(peephole_f + i, d_f[i] * c[i]);
      add(peephole_o + i, d_o[i] * gates.cell[i]);
    }
    for (int j = 0; j < K; ++j) {
      V d_h = V{};
      for (int gate = 0; gate < 3; ++gate)
        for (int i = 0; i < K; ++i) {
          const int row = gate * K + i;
          d_h += w(row * K + j) * du[row];
          add(row * K + j, du[row] * h[j]);
        }
      d_state[K + j] = d_h;
    }
  }
};

}  // namespace paratime
