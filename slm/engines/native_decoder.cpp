// Every layer of the decoder for a few tokens, for the CPU: what `slm/engines/native.py` calls.
//
// A step is bound by reading weights, so they are read once for all tokens, in order, and nothing
// is allocated or launched in between. The vectors are the compiler's own, so that the same code
// runs with AVX-512, AVX2 or NEON. Every sum is taken in one order whatever else is read with a
// token and however many threads there are: its results depend on its own past, to the bit.
//
// Tokens may be of one row or of many; those of a row come in their order. B counts tokens here.

#include "native_attention.h"
#ifdef _OPENMP
#include <omp.h>
#endif

namespace {

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
        for (int64_t row = 0; row < s.rows; ++row)
            for (int n = 0; n < BLOCK; n += LANES) {
                const Floats up = load(sums + row * STRIP + n), gate = load(sums + row * STRIP + BLOCK + n);
                store(b.hidden + row * m.hidden + first / 2 + n, up * gate / (exponential(-gate) + 1.0f));
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
