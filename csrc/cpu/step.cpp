// One step of a stack of layers: a list of operations on rows of fixed buffers, run by one call.
//
// For a small model a step is a few dozen operations of a microsecond or less, and to dispatch them
// one by one costs many times that. Python writes the list once (paratime/ops/program.py); norms,
// convolutions and recurrences are the kernels of the other files. Every row is computed by itself,
// in one order, so that neither its neighbours nor threads change a bit of any result.
#include "tiles.h"

namespace paratime {

struct Operation;
using Run = void (*)(const Operation&, int64_t rows, int32_t threads);

// As `Operation` in program.py lays it out; what `sizes` and `at` mean is up to `run`.
struct Operation {
  Run run;
  int64_t sizes[3];
  double eps;
  void* at[6];

  template <class T>
  T* in(int i) const {
    return static_cast<T*>(at[i]);
  }
};

constexpr int64_t kPanel = 64;  // outputs of a linear map whose weights lie together: `PANEL`

// y = base + scale (W x + bias) for rows x (rows, inputs) and y (rows, outputs). W comes in panels
// (ceil(outputs / kPanel), inputs, kPanel), filled up with zeros, so that it is read once, from
// end to end. A bias that is null is 0; a null scale is 1, and then there is no base.
template <class Element>
struct Linear {
  int64_t inputs, outputs;
  const Element *x, *panels, *bias, *scale, *base;
  Element* y;

  using V = Vector<Element>;
  static constexpr int vectors = kPanel / width<Element>;
  static constexpr int most_rows = std::max(1, 16 / vectors);  // their sums stay in registers

  template <int n>
  void of_rows(int64_t panel, int64_t row) const {
    V sums[n][vectors] = {};
    const Element* weights = panels + panel * inputs * kPanel;
    const Element* from = x + row * inputs;
    for (int64_t k = 0; k < inputs; ++k, weights += kPanel)
      for (int v = 0; v < vectors; ++v) {
        const V w = load(weights + v * width<Element>, width<Element>);
        for (int i = 0; i < n; ++i) sums[i][v] += w * from[i * inputs + k];
      }
    const Tile tile{panel * kPanel, std::min((panel + 1) * kPanel, outputs)};
    for (int i = 0; i < n; ++i) {
      const int64_t at = (row + i) * outputs;
      const V* sum = sums[i];
      tile.for_each_vector<Element>([&](Span s) {
        V result = *sum++;
        if (bias) result += load(bias + s.lane, s.n);
        if (scale) result = load(base + at + s.lane, s.n) + load(scale + s.lane, s.n) * result;
        store(y + at + s.lane, result, s.n);
      });
    }
  }

  void run(int64_t rows, int threads) const {
    const int64_t count = (outputs + kPanel - 1) / kPanel;
#pragma omp parallel for num_threads(threads) if (threads > 1 && count > 1)
    for (int64_t panel = 0; panel < count; ++panel) {
      int64_t row = 0;
      for (; row + most_rows <= rows; row += most_rows) of_rows<most_rows>(panel, row);
      for (; row < rows; ++row) of_rows<1>(panel, row);
    }
  }
};

// y = silu(gate) value, for the two halves of rows x (rows, 2 channels).
template <class Element>
void swiglu(int64_t rows, int64_t channels, const Element* x, Element* y) {
  using V = Vector<Element>;
  for (int64_t row = 0; row < rows; ++row, x += 2 * channels, y += channels)
    Tile{0, channels}.for_each_vector<Element>([&](Span s) __attribute__((always_inline)) {
      const V gate = load(x + s.lane, s.n);
      store(y + s.lane, gate * sigmoid(gate) * load(x + channels + s.lane, s.n), s.n);
    });
}

// y = table[token].
template <class Element>
void embed(int64_t rows, int64_t channels, const int64_t* tokens, const Element* table,
           Element* y) {
  for (int64_t row = 0; row < rows; ++row) {
    const Element* from = table + tokens[row] * channels;
    std::copy(from, from + channels, y + row * channels);
  }
}

}  // namespace paratime

using paratime::Operation;

extern "C" void paratime_run_program(const Operation* operations, int64_t count, int64_t rows,
                             int32_t threads) {
  for (int64_t i = 0; i < count; ++i) operations[i].run(operations[i], rows, threads);
}

// The operation `name`, of o, rows and threads.
#define PARATIME_STEP(name, format) \
  extern "C" void paratime_step_##name##_##format(const Operation& o, int64_t rows, int32_t threads)

// One step of a recurrence, whose state is carried in place.
#define PARATIME_STEP_RECURRENCE(name, format, Element)                                          \
  extern "C" void paratime_##name##_forward_##format(                                            \
      int64_t, int64_t, int64_t, const Element*, const Element*, const Element*, const uint8_t*, \
      const int64_t*, Element*, int64_t, Element*, Element*, int32_t);                           \
  PARATIME_STEP(name, format) {                                                                  \
    Element* state = o.in<Element>(2);                                                           \
    paratime_##name##_forward_##format(rows, 1, o.sizes[0], o.in<Element>(0), o.in<Element>(1),  \
                                       state, nullptr, nullptr, o.in<Element>(3), o.sizes[1],    \
                                       nullptr, state, threads);                                 \
  }

#define PARATIME_STEPS(format, Element)                                                          \
  PARATIME_STEP(embed, format) {                                                                 \
    (void)threads;                                                                               \
    paratime::embed(rows, o.sizes[0], o.in<int64_t>(0), o.in<Element>(1), o.in<Element>(2));     \
  }                                                                                              \
  PARATIME_STEP(linear, format) {                                                                \
    paratime::Linear<Element>{o.sizes[0],       o.sizes[1],       o.in<Element>(0),              \
                              o.in<Element>(1), o.in<Element>(2), o.in<Element>(3),              \
                              o.in<Element>(4), o.in<Element>(5)}                                \
        .run(rows, threads);                                                                     \
  }                                                                                              \
  PARATIME_STEP(swiglu, format) {                                                                \
    (void)threads;                                                                               \
    paratime::swiglu(rows, o.sizes[0], o.in<Element>(0), o.in<Element>(1));                      \
  }                                                                                              \
  extern "C" void paratime_rms_norm_##format(int64_t, int64_t, const Element*, const Element*,   \
                                             const Element*, int64_t, double, Element*,          \
                                             Element*, int32_t);                                 \
  PARATIME_STEP(norm, format) {                                                                  \
    paratime_rms_norm_##format(rows, o.sizes[0], o.in<Element>(0), o.in<Element>(1),             \
                               o.in<Element>(2), o.sizes[1], o.eps, o.in<Element>(3), nullptr,   \
                               threads);                                                         \
  }                                                                                              \
  extern "C" void paratime_causal_conv_##format(                                                 \
      int64_t, int64_t, int64_t, int64_t, const Element*, int64_t, int64_t, const Element*,      \
      const Element*, const Element*, const uint8_t*, const int64_t*, Element*, Element*,        \
      int32_t);                                                                                  \
  PARATIME_STEP(conv, format) {                                                                  \
    const int64_t channels = o.sizes[0], taps = o.sizes[1], apart = o.sizes[2];                  \
    Element *memory = o.in<Element>(3), *next = o.in<Element>(4);                                \
    paratime_causal_conv_##format(rows, 1, channels, taps, o.in<Element>(0), apart, apart,       \
                                  o.in<Element>(1), o.in<Element>(2), memory, nullptr, nullptr,  \
                                  o.in<Element>(5), next, threads);                              \
    std::copy(next, next + rows * (taps - 1) * channels, memory);                                \
  }                                                                                              \
  PARATIME_STEP_RECURRENCE(gru1, format, Element)                                                \
  PARATIME_STEP_RECURRENCE(gru2, format, Element)                                                \
  PARATIME_STEP_RECURRENCE(gru4, format, Element)                                                \
  PARATIME_STEP_RECURRENCE(gru8, format, Element)                                                \
  PARATIME_STEP_RECURRENCE(lstm1, format, Element)                                               \
  PARATIME_STEP_RECURRENCE(lstm2, format, Element)                                               \
  PARATIME_STEP_RECURRENCE(lstm4, format, Element)                                               \
  PARATIME_STEP_RECURRENCE(lstm8, format, Element)

PARATIME_STEPS(float32, float)
PARATIME_STEPS(float64, double)
