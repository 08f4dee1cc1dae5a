// Every layer of the decoder for a few tokens, for the CPU: what `slm/engines/native.py` calls.
//
// A step is bound by reading weights, so they are read once for all tokens, in order, and nothing
// is allocated or launched in between. The vectors are the compiler's own, so that the same code
// runs with AVX-512, AVX2 or NEON. Every sum is taken in one order whatever else is read with a
// token and however many threads there are: its results depend on its own past, to the bit.
//
// Tokens may be of one row or of many; those of a row come in their order. B counts tokens here.

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>
#ifdef _OPENMP
#include <omp.h>
#endif
#if defined(__AVX512F__)
#include <immintrin.h>
#endif

namespace {

constexpr int LANES = 16;
constexpr int STRIP = 2 * LANES;  // output rows that lie side by side in a packed matrix
constexpr int AHEAD = 64 * STRIP;   // weights that are fetched early
constexpr int WIDEST = 256;         // head
constexpr int CHUNK = 128;        // keys that one thread attends to at a time
#if defined(__AVX512F__)
constexpr int MOST_ROWS = 8;  // rows whose sums fit into registers
#else
constexpr int MOST_ROWS = 4;
#endif

typedef float Floats __attribute__((vector_size(4 * LANES), aligned(4)));
typedef int32_t Ints __attribute__((vector_size(4 * LANES)));
typedef uint16_t Halves __attribute__((vector_size(2 * LANES), aligned(2)));
typedef uint32_t Words __attribute__((vector_size(4 * LANES)));
typedef int8_t Bytes __attribute__((vector_size(LANES), aligned(1)));

inline Floats load(const float* at) { return *reinterpret_cast<const Floats*>(at); }
inline void store(float* at, Floats values) { *reinterpret_cast<Floats*>(at) = values; }
inline Floats filled(float value) { return value - Floats{}; }

// Weights as they are stored: float32, bfloat16 or int8.
inline Floats widened(const float* at) { return load(at); }
inline Floats widened(const uint16_t* at) {
    const Words words = __builtin_convertvector(*reinterpret_cast<const Halves*>(at), Words) << 16;
    return (Floats)words;  // the same bits
}
inline Floats widened(const int8_t* at) {
#if defined(__AVX512F__)  // GCC 12 makes single steps of the general form
    const __m128i bytes = _mm_loadu_si128(reinterpret_cast<const __m128i*>(at));
    return (Floats)_mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(bytes));
#else
    return __builtin_convertvector(*reinterpret_cast<const Bytes*>(at), Floats);
#endif
}

inline float total(Floats values) {
    float sum = 0;
    for (int lane = 0; lane < LANES; ++lane) sum += values[lane];
    return sum;
}

inline float highest(Floats values) {
    float most = values[0];
    for (int lane = 1; lane < LANES; ++lane) most = std::max(most, values[lane]);
    return most;
}

// e^x to 2 units in the last place for x <= 88; 0 below -87.
inline Floats exponential(Floats x) {
    const Ints alive = x > -87.0f;
    const Floats clamped = alive ? (x < 88.0f ? x : filled(88.0f)) : filled(0.0f);
    const Floats scaled = clamped * 1.44269504f;
    const Ints power = __builtin_convertvector(scaled + (scaled < 0 ? filled(-.5f) : filled(.5f)), Ints);
    const Floats whole = __builtin_convertvector(power, Floats);
    const Floats r = (clamped - whole * 0.693359375f) + whole * 2.12194440e-4f;
    Floats poly = r * 1.9875691500e-4f + 1.3981999507e-3f;
    poly = poly * r + 8.3334519073e-3f;
    poly = poly * r + 4.1665795894e-2f;
    poly = poly * r + 1.6666665459e-1f;
    poly = poly * r + 5.0000001201e-1f;
    const Floats mantissa = poly * r * r + r + 1.0f;
    const Ints exponent = (power + 127) << 23;
    return alive ? mantissa * (Floats)exponent : filled(0.0f);
}

}  // namespace

extern "C" {

// A packed matrix (N, D): strips of 32 output rows, each (D, 32); N filled up to whole strips.
struct Matrix {
    const void* weight;
    const float* scale;  // (N,), of int8 alone
    const float* bias;   // (N,) or null
    int64_t rows, width, kind;  // kind: 0 float32, 1 bfloat16, 2 int8
};

struct Layer {
    Matrix qkv, out, up_gate, down;
    const float* qk_gain;  // (H + H', D) or null
    float* keys;           // (slots, H', L / 16, D, 16)
    float* values;         // (slots, H', L, D)
};

struct Model {
    const Layer* layers;
    const float* rotations;  // (positions, D / 2, 2): cosine, sine
    int64_t num_layers, dim, heads, kv_heads, dim_head, hidden, positions;
    float eps;
};

// B tokens and memory for them.
struct Step {
    const int64_t* positions;  // (B,)
    const int64_t* slots;      // (B,): where the keys and values of a token's row lie
    float* x;                  // (B, dim): embeddings in, final unit vectors out
    float* scratch;            // `scratch_floats`
    int64_t rows, threads;
};
}

namespace {

template <typename W, int R>
void strip_sums(const W* weight, const float* x, int64_t width, int64_t stride, float* sums) {
    Floats low[R] = {}, high[R] = {};
    for (int64_t d = 0; d < width; ++d, weight += STRIP) {
        __builtin_prefetch(weight + AHEAD);
        if (sizeof(W) == 4) __builtin_prefetch(weight + AHEAD + LANES);
        const Floats first = widened(weight), second = widened(weight + LANES);
#pragma GCC unroll 8
        for (int r = 0; r < R; ++r) {
            const float value = x[r * stride + d];
            low[r] += first * value;
            high[r] += second * value;
        }
    }
    for (int r = 0; r < R; ++r) {
        store(sums + r * STRIP, low[r]);
        store(sums + r * STRIP + LANES, high[r]);
    }
}

template <typename W>
void some_sums(const W* weight, const float* x, int64_t width, int64_t rows, float* sums) {
    while (rows) {
        int64_t done = 1;
        if (MOST_ROWS >= 8 && rows >= 8) {
            strip_sums<W, 8>(weight, x, width, width, sums), done = 8;
        } else if (rows >= 4) {
            strip_sums<W, 4>(weight, x, width, width, sums), done = 4;
        } else if (rows >= 2) {
            strip_sums<W, 2>(weight, x, width, width, sums), done = 2;
        } else {
            strip_sums<W, 1>(weight, x, width, width, sums);
        }
        rows -= done, x += done * width, sums += done * STRIP;
    }
}

struct Share {
    int64_t thread, threads;
    int64_t begin(int64_t count) const { return thread * count / threads; }
    int64_t end(int64_t count) const { return (thread + 1) * count / threads; }
};

// Calls `use(first output row, how many, (B, 32) sums)` for this thread's strips.
template <typename Use>
void product(const Matrix& matrix, const float* x, int64_t rows, Share share, float* sums, Use use) {
    const int64_t strips = (matrix.rows + STRIP - 1) / STRIP;
    for (int64_t s = share.begin(strips); s < share.end(strips); ++s) {
        const int64_t offset = s * matrix.width * STRIP, first = s * STRIP;
        if (matrix.kind == 0) {
            some_sums(static_cast<const float*>(matrix.weight) + offset, x, matrix.width, rows, sums);
        } else if (matrix.kind == 1) {
            some_sums(static_cast<const uint16_t*>(matrix.weight) + offset, x, matrix.width, rows, sums);
        } else {
            some_sums(static_cast<const int8_t*>(matrix.weight) + offset, x, matrix.width, rows, sums);
        }
        const int64_t count = std::min<int64_t>(STRIP, matrix.rows - first);
        for (int64_t row = 0; row < rows; ++row) {
            float* sum = sums + row * STRIP;
            for (int64_t n = 0; n < count; ++n) {
                if (matrix.scale) sum[n] *= matrix.scale[first + n];
                if (matrix.bias) sum[n] += matrix.bias[first + n];
            }
        }
        use(first, count, sums);
    }
}

// As `slm.engines.merged_weights.unit`.
void unit(const float* x, int64_t width, float eps, float* out) {
    Floats squares = {};
    int64_t d = 0;
    for (; d + LANES <= width; d += LANES) squares += load(x + d) * load(x + d);
    float square = total(squares);
    for (; d < width; ++d) square += x[d] * x[d];
    const float norm = eps > 0 ? std::sqrt(square + width * eps) : std::max(std::sqrt(square), 1e-12f);
    for (int64_t i = 0; i < width; ++i) out[i] = x[i] / norm;
}

void unit_rows(const float* x, int64_t rows, int64_t width, float eps, float* out) {
    for (int64_t row = 0; row < rows; ++row) unit(x + row * width, width, eps, out + row * width);
}

// Gain of the QK norm, if any, then the rotation by the position; `factor` scales what comes out.
void rotate(const float* head, const float* gain, const float* rotations, int64_t width, float eps,
          float factor, float* out) {
    std::memcpy(out, head, width * sizeof(float));
    if (gain) {
        unit(head, width, eps, out);
        for (int64_t d = 0; d < width; ++d) out[d] *= gain[d];
    }
    for (int64_t d = 0; d < width; d += 2) {
        const float x = out[d], y = out[d + 1], cosine = rotations[d], sine = rotations[d + 1];
        out[d] = (x * cosine - y * sine) * factor;
        out[d + 1] = (x * sine + y * cosine) * factor;
    }
}

// Scores of 16 keys, (D, 16), for G queries, (G, D); products of even and odd places are summed apart.
template <int G>
void scores_of(const float* queries, const float* keys, int64_t width, float* scores) {
    Floats sums[2][G] = {};
    for (int64_t d = 0; d < width; d += 2)
        for (int i = 0; i < 2; ++i) {
            const Floats key = load(keys + (d + i) * LANES);
            for (int g = 0; g < G; ++g) sums[i][g] += key * queries[g * width + d + i];
        }
    for (int g = 0; g < G; ++g) store(scores + g * CHUNK, sums[0][g] + sums[1][g]);
}

// G sums of values, V vectors of 16 columns of them, weighted; `next` is fetched meanwhile.
template <int G, int V>
void weighted(const float* values, const float* weights, int64_t count, int64_t width, const float* next,
              float* results, int64_t stride) {
    Floats sums[G][V] = {};
    for (int64_t slot = 0; slot < count; ++slot, values += width, next += V * LANES) {
        for (int v = 0; v < V; ++v) {
            __builtin_prefetch(next + v * LANES);
            const Floats value = load(values + v * LANES);
            for (int g = 0; g < G; ++g) sums[g][v] += value * weights[g * CHUNK + slot];
        }
    }
    for (int g = 0; g < G; ++g)
        for (int v = 0; v < V; ++v) store(results + g * stride + v * LANES, sums[g][v]);
}

struct Attention {
    const Model& model;
    const Layer& layer;
    const Step& step;
    const float* qkv;  // (B, (H + 2 H') D)
    float* out;        // (B, H D)
    float* parts;      // (B, H', chunks, H / H', 2 + D): largest score, sum, weighted values
    int64_t chunks;

    int64_t groups() const { return model.heads / model.kv_heads; }
    int64_t chunks_of(int64_t row) const { return step.positions[row] / CHUNK + 1; }
    float* part(int64_t row, int64_t head, int64_t chunk) const {
        return parts + ((row * model.kv_heads + head) * chunks + chunk) * groups() * (2 + model.dim_head);
    }

    int64_t held(int64_t row, int64_t head) const {
        return (step.slots[row] * model.kv_heads + head) * model.positions * model.dim_head;
    }

    void write(int64_t row, int64_t head) const {
        const int64_t width = model.dim_head, position = step.positions[row];
        float *keys = layer.keys + held(row, head), *values = layer.values + held(row, head);
        const float* from = qkv + row * (model.heads + 2 * model.kv_heads) * width;
        const float* gain = layer.qk_gain ? layer.qk_gain + (model.heads + head) * width : nullptr;
        const float* rotations = model.rotations + position * width;
        float key[WIDEST];
        rotate(from + (model.heads + head) * width, gain, rotations, width, model.eps, 1, key);
        float* slot = keys + position / LANES * width * LANES + position % LANES;
        for (int64_t d = 0; d < width; ++d) slot[d * LANES] = key[d];
        std::memcpy(values + position * width, from + (model.heads + model.kv_heads + head) * width,
                    width * sizeof(float));
    }

    // The keys of one chunk, for the query heads of one key head of one row.
    void attend(int64_t row, int64_t head, int64_t chunk) const {
        int64_t group = 0;
        for (; group + 4 <= groups(); group += 4) attend_with<4>(row, head, chunk, group);
        for (; group + 2 <= groups(); group += 2) attend_with<2>(row, head, chunk, group);
        for (; group < groups(); ++group) attend_with<1>(row, head, chunk, group);
    }

    // G of those query heads, from `group` on.
    template <int G>
    void attend_with(int64_t row, int64_t head, int64_t chunk, int64_t group) const {
        const int64_t width = model.dim_head, position = step.positions[row], stride = 2 + width;
        const int64_t first = chunk * CHUNK, last = std::min<int64_t>(first + CHUNK, position + 1);
        const float* keys = layer.keys + held(row, head) + first * width;
        const float* values = layer.values + held(row, head) + first * width;
        float queries[G * WIDEST], scores[G * CHUNK];
        for (int g = 0; g < G; ++g) {
            const int64_t which = head * groups() + group + g;
            const float* gain = layer.qk_gain ? layer.qk_gain + which * width : nullptr;
            rotate(qkv + (row * (model.heads + 2 * model.kv_heads) + which) * width, gain,
                 model.rotations + position * width, width, model.eps, 1 / std::sqrt(float(width)),
                 queries + g * width);
        }
        for (int64_t slot = 0; slot < last - first; slot += LANES) {
            for (int64_t line = 0; line < width; ++line) __builtin_prefetch(values + slot * width + line * LANES);
            scores_of<G>(queries, keys + slot * width, width, scores + slot);
        }
        float* result = part(row, head, chunk) + group * stride;
        for (int g = 0; g < G; ++g) soften(scores + g * CHUNK, last - first, result + g * stride);
        const float* next = keys + (last - first) * width;
        int64_t d = 0;
        for (; d + 4 * LANES <= width; d += 4 * LANES)
            weighted<G, 4>(values + d, scores, last - first, width, next + d, result + 2 + d, stride);
        for (; d < width; d += LANES)
            weighted<G, 1>(values + d, scores, last - first, width, next + d, result + 2 + d, stride);
    }

    // Scores become weights relative to the largest, which comes to lie before their sum.
    static void soften(float* scores, int64_t count, float* largest_and_sum) {
        std::fill(scores + count, scores + (count + LANES - 1) / LANES * LANES, -INFINITY);
        Floats most = load(scores), sum = {};
        for (int64_t slot = LANES; slot < count; slot += LANES) {
            const Floats score = load(scores + slot);
            most = score > most ? score : most;
        }
        const float largest = highest(most);
        for (int64_t slot = 0; slot < count; slot += LANES) {
            const Floats weight = exponential(load(scores + slot) - largest);
            store(scores + slot, weight);
            sum += weight;
        }
        largest_and_sum[0] = largest;
        largest_and_sum[1] = total(sum);
    }

    void join(int64_t row, int64_t head) const {
        const int64_t width = model.dim_head, size = groups() * (2 + width);
        for (int64_t group = 0; group < groups(); ++group) {
            const float* first = part(row, head, 0) + group * (2 + width);
            float most = first[0], sum = 0;
            for (int64_t c = 1; c < chunks_of(row); ++c) most = std::max(most, first[c * size]);
            float* result = out + (row * model.heads + head * groups() + group) * width;
            std::fill(result, result + width, 0.0f);
            for (int64_t c = 0; c < chunks_of(row); ++c) {
                const float* from = first + c * size;
                const float weight = std::exp(from[0] - most);
                sum += weight * from[1];
                for (int64_t d = 0; d < width; ++d) result[d] += weight * from[2 + d];
            }
            for (int64_t d = 0; d < width; ++d) result[d] /= sum;
        }
    }
};

struct Buffers {
    float *normed, *sums, *qkv, *attended, *hidden, *parts;
    int64_t chunks, own;

    // `normed` and `sums` are a thread's own.
    Buffers(const Model& m, const Step& s, int64_t thread) {
        chunks = m.positions / CHUNK + 1;
        own = s.rows * (std::max(m.dim, m.hidden) + STRIP);
        const int64_t width = m.dim_head;
        normed = s.scratch + thread * own;
        sums = normed + s.rows * std::max(m.dim, m.hidden);
        qkv = s.scratch + s.threads * own;
        attended = qkv + s.rows * (m.heads + 2 * m.kv_heads) * width;
        hidden = attended + s.rows * m.heads * width;
        parts = hidden + s.rows * m.hidden;
    }
};

void layer_step(const Model& m, const Layer& layer, const Step& s, const Buffers& b, Share share) {
    const int64_t wide = layer.qkv.rows;
    const auto add = [&](int64_t first, int64_t count, const float* sums) {
        for (int64_t row = 0; row < s.rows; ++row)
            for (int64_t n = 0; n < count; ++n) s.x[row * m.dim + first + n] += sums[row * STRIP + n];
    };
    unit_rows(s.x, s.rows, m.dim, m.eps, b.normed);
    product(layer.qkv, b.normed, s.rows, share, b.sums, [&](int64_t first, int64_t count, const float* sums) {
        for (int64_t row = 0; row < s.rows; ++row)
            std::memcpy(b.qkv + row * wide + first, sums + row * STRIP, count * sizeof(float));
    });
#pragma omp barrier
    const Attention attention{m, layer, s, b.qkv, b.attended, b.parts, b.chunks};
    const int64_t heads = s.rows * m.kv_heads;
    for (int64_t n = share.begin(heads); n < share.end(heads); ++n) attention.write(n / m.kv_heads, n % m.kv_heads);
#pragma omp barrier
    int64_t items = 0, item = 0;
    for (int64_t row = 0; row < s.rows; ++row) items += m.kv_heads * attention.chunks_of(row);
    for (int64_t n = 0; n < heads; ++n)
        for (int64_t chunk = 0; chunk < attention.chunks_of(n / m.kv_heads); ++chunk, ++item)
            if (item >= share.begin(items) && item < share.end(items))
                attention.attend(n / m.kv_heads, n % m.kv_heads, chunk);
#pragma omp barrier
    for (int64_t n = share.begin(heads); n < share.end(heads); ++n) attention.join(n / m.kv_heads, n % m.kv_heads);
#pragma omp barrier
    product(layer.out, b.attended, s.rows, share, b.sums, add);
#pragma omp barrier
    unit_rows(s.x, s.rows, m.dim, m.eps, b.normed);
    // A strip holds 16 rows of the values and the 16 of their gates.
    product(layer.up_gate, b.normed, s.rows, share, b.sums, [&](int64_t first, int64_t, const float* sums) {
        for (int64_t row = 0; row < s.rows; ++row) {
            const Floats up = load(sums + row * STRIP), gate = load(sums + row * STRIP + LANES);
            store(b.hidden + row * m.hidden + first / 2, up * gate / (exponential(-gate) + 1.0f));
        }
    });
#pragma omp barrier
    product(layer.down, b.hidden, s.rows, share, b.sums, add);
#pragma omp barrier
}

}  // namespace

extern "C" {

int64_t scratch_floats(const Model* model, int64_t rows, int64_t threads) {
    const Model& m = *model;
    const int64_t own = rows * (std::max(m.dim, m.hidden) + STRIP);
    const int64_t chunks = m.positions / CHUNK + 1;
    return threads * own + rows * (m.heads + 2 * m.kv_heads) * m.dim_head + rows * m.heads * m.dim_head +
           rows * m.hidden + rows * m.heads * chunks * (2 + m.dim_head);
}

void decoder_step(const Model* model, const Step* step) {
#pragma omp parallel num_threads(step->threads)
    {
#ifdef _OPENMP
        const Share share{omp_get_thread_num(), omp_get_num_threads()};
#else
        const Share share{0, 1};
#endif
        const Buffers buffers(*model, *step, share.thread);
        for (int64_t n = 0; n < model->num_layers; ++n)
            layer_step(*model, model->layers[n], *step, buffers, share);
        for (int64_t row = share.begin(step->rows); row < share.end(step->rows); ++row) {
            float* x = step->x + row * model->dim;
            unit(x, model->dim, model->eps, x);
        }
    }
}

// (B, D) times a packed matrix to (B, N).
void head_product(const Matrix* matrix, const float* x, int64_t rows, int64_t threads, float* sums,
                  float* out) {
#pragma omp parallel num_threads(threads)
    {
#ifdef _OPENMP
        const Share share{omp_get_thread_num(), omp_get_num_threads()};
#else
        const Share share{0, 1};
#endif
        product(*matrix, x, rows, share, sums + share.thread * rows * STRIP,
                [&](int64_t first, int64_t count, const float* from) {
                    for (int64_t row = 0; row < rows; ++row)
                        std::memcpy(out + row * matrix->rows + first, from + row * STRIP, count * sizeof(float));
                });
    }
}
}
