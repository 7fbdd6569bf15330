/* Exact sums of 32 bits by AVX2, for weights of any kind: first and last layers of 8 bits, weights of 3 to 5 bits, and what
 * look-ups with wrapping sums are compared with. Lanes are output channels: a pair of codes of 16 bits, broadcast, times
 * eight pairs of weights is one multiply-add instruction and one addition for 16 products, 32 a cycle on Zen 4.
 *
 * Codes of a band of rows are widened once. Where a tap has few channels, as in a first layer, the taps of a kernel row are
 * copied beside each other, so that pairs are full: a kernel one column wide of kernel_w times the channels.
 */
#include <immintrin.h>
#include <string.h>

#include "finish.h"
#include "tiles.h"

#define PIXELS 6
#define LANES 16 /* output channels taken together: 6 pixels by 2 registers of sums */
#define FEW 8    /* channels */
#define BUDGET (256 * 1024)
#if defined(LOW_BIT_ROLLED)
#define UNROLL
#elif defined(__clang__)
#define UNROLL _Pragma("clang loop unroll(full)")
#else
#define UNROLL _Pragma("GCC unroll 8")
#endif

typedef struct {
    low_bit_shape shape; /* as computed with: see FEW */
    low_bit_band band;
    int64_t pairs, width, codes, cells, places, kinds, ranges, bases; /* numbers of pairs and cells; bytes of scratch */
} plan;

static int64_t lines(int64_t bytes) { return (bytes + 63) / 64 * 64; }

static plan plan_of(const low_bit_shape *s, int64_t rows) {
    plan p = {*s, {0, 0, 0}, 0, 0, 0, 0, 0, 0, 0, 0};
    if (s->channels <= FEW && s->kernel_w > 1) {
        p.shape.channels *= s->kernel_w;
        p.shape.width = s->out_width;
        p.shape.kernel_w = p.shape.stride_w = p.shape.dilation_w = 1;
        p.shape.pad_w = 0;
    }
    p.pairs = (p.shape.channels + 1) / 2;
    p.width = low_bit_cells(low_bit_columns(&p.shape));
    p.band = low_bit_band_of(&p.shape, rows, p.width * p.pairs * 4, BUDGET);
    p.codes = lines(p.band.cells * p.width * p.pairs * 4);
    p.cells = p.places = lines(p.band.pixels * (int64_t)sizeof(int64_t));
    p.kinds = lines(p.band.pixels * (int64_t)sizeof(low_bit_kind));
    p.ranges = lines(p.band.rows * (int64_t)sizeof(low_bit_range));
    p.bases = lines(p.band.rows * (int64_t)sizeof(int64_t));
    return p;
}

static int runs_here(void) { return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma"); }

static int supports(const low_bit_shape *s, int weights, int bits, int wide) {
    (void)weights, (void)bits, (void)wide;
    return s->groups == 1;
}

static int64_t packed_bytes(const low_bit_shape *s, int weights, int wide) {
    plan p = plan_of(s, 1);
    (void)weights, (void)wide;
    return (s->out_channels + LANES - 1) / LANES * s->kernel_h * p.shape.kernel_w * p.pairs * LANES * 4;
}

/* (block of LANES, tap, pair, channel, two), int16. */
static void pack(const low_bit_shape *s, int weights, int wide, const int8_t *from, void *to) {
    plan p = plan_of(s, 1);
    int64_t taps = s->kernel_h * p.shape.kernel_w, channels = p.shape.channels;
    int16_t *at = to;
    (void)weights, (void)wide;
    for (int64_t block = 0; block < s->out_channels; block += LANES) {
        for (int64_t i = 0; i < taps * p.pairs; ++i) {
            for (int64_t lane = 0; lane < 2 * LANES; ++lane) {
                int64_t o = block + lane / 2, c = i % p.pairs * 2 + lane % 2;
                *at++ = o < s->out_channels && c < channels ? from[(o * taps + i / p.pairs) * channels + c] : 0;
            }
        }
    }
}

static int64_t scratch_bytes(const low_bit_shape *s, int weights, int wide, int64_t rows) {
    plan p = plan_of(s, rows);
    (void)weights, (void)wide;
    return p.codes + p.cells + p.places + p.kinds + p.ranges + p.bases + PIXELS * LANES * (int64_t)sizeof(int32_t);
}

static INLINE int16_t widened(uint8_t code, int sign) { return (int16_t)((code ^ sign) - sign); }

/* One row of cells from one row of the picture. */
static void widen_row(const low_bit_shape *s, const plan *p, const uint8_t *row, int sign, int16_t *to) {
    low_bit_axis columns = low_bit_columns(&p->shape), taps = low_bit_columns(s);
    int64_t cell_words = 2 * p->pairs;
    memset(to, 0, (size_t)(p->width * cell_words) * sizeof(int16_t));
    for (int64_t i = 0; i < p->width; ++i, to += cell_words) {
        if (p->shape.channels != s->channels) {
            low_bit_range seen = low_bit_seen(taps, i);
            for (int64_t k = seen.first; k < seen.last; ++k) {
                const uint8_t *x = row + (i * s->stride_w - s->pad_w + k * s->dilation_w) * s->channels;
                for (int64_t c = 0; c < s->channels; ++c) {
                    to[k * s->channels + c] = widened(x[c], sign);
                }
            }
            continue;
        }
        int64_t input = low_bit_input(columns, i);
        if (input >= 0 && input < columns.size) {
            const uint8_t *x = row + input * s->channels;
            for (int64_t c = 0; c < s->channels; ++c) {
                to[c] = widened(x[c], sign);
            }
        }
    }
}

typedef struct {
    const int16_t *codes, *weights;
    int64_t pairs, kernel_w, row_step, column_step;
} layer;

/* As in avx2_lookup.h: the order of instructions is fixed, so that no sum leaves its register. */
static INLINE void add_products(__m256i *sum, __m256i codes, __m256i weights) {
    __m256i product;
    __asm__ volatile("vpmaddwd %3, %2, %1\n\tvpaddd %1, %0, %0" : "+x"(*sum), "=&x"(product) : "x"(codes), "x"(weights));
}

static INLINE void tile_of(const layer *l, const low_bit_kind *kind, const int64_t *cell, int32_t *sums, const int pixels) {
    __m256i sum[PIXELS][2];
    const int16_t *at[PIXELS];
    UNROLL
    for (int p = 0; p < pixels; ++p) {
        sum[p][0] = sum[p][1] = _mm256_setzero_si256();
        at[p] = l->codes + cell[p] * l->pairs * 2;
    }
    for (int64_t ky = kind->rows.first; ky < kind->rows.last; ++ky) {
        for (int64_t kx = kind->columns.first; kx < kind->columns.last; ++kx) {
            const int16_t *w = l->weights + (ky * l->kernel_w + kx) * l->pairs * 2 * LANES;
            int64_t from = (ky - kind->rows.first) * l->row_step + (kx - kind->columns.first) * l->column_step;
            from *= l->pairs * 2;
            for (int64_t end = from + 2 * l->pairs; from < end; from += 2, w += 2 * LANES) {
                __m256i a = _mm256_load_si256((const __m256i *)w), b = _mm256_load_si256((const __m256i *)(w + LANES));
                UNROLL
                for (int p = 0; p < pixels; ++p) {
                    int32_t pair;
                    memcpy(&pair, at[p] + from, sizeof(pair));
                    __m256i codes = _mm256_set1_epi32(pair);
                    add_products(&sum[p][0], codes, a);
                    add_products(&sum[p][1], codes, b);
                }
            }
        }
    }
    UNROLL
    for (int p = 0; p < pixels; ++p) {
        _mm256_storeu_si256((__m256i *)(sums + p * LANES), sum[p][0]);
        _mm256_storeu_si256((__m256i *)(sums + p * LANES + 8), sum[p][1]);
    }
}

static void tile(const layer *l, const low_bit_kind *kind, const int64_t *cell, int32_t *sums, int64_t pixels) {
    switch (pixels) {
    case 1: tile_of(l, kind, cell, sums, 1); break;
    case 2: tile_of(l, kind, cell, sums, 2); break;
    case 3: tile_of(l, kind, cell, sums, 3); break;
    case 4: tile_of(l, kind, cell, sums, 4); break;
    case 5: tile_of(l, kind, cell, sums, 5); break;
    default: tile_of(l, kind, cell, sums, 6);
    }
}

static void widen(const low_bit_shape *s, const plan *p, const uint8_t *x, int sign, int64_t first, int64_t last,
                  int16_t *codes) {
    low_bit_axis axis = low_bit_rows(s);
    for (int64_t row = 0; first < last;) {
        low_bit_part part = low_bit_part_of(s, first, last, row);
        for (int64_t cell = part.cells.first; cell < part.cells.last; ++cell, ++row) {
            int64_t y = low_bit_input(axis, cell);
            if (y >= 0 && y < s->height) {
                const uint8_t *from = x + (part.picture * s->height + y) * s->width * s->channels;
                widen_row(s, p, from, sign, codes + row * p->width * p->pairs * 2);
            }
        }
        first += part.outs.last - part.outs.first;
    }
}

static void convolve(const low_bit_shape *s, int weights, int wide, const uint8_t *x, const void *packed, int64_t first,
                     int64_t last, void *scratch, const low_bit_finish *finish, void *out) {
    if (s->out_width < 1 || first >= last) {
        return;
    }
    plan p = plan_of(s, last - first);
    low_bit_fold fold = low_bit_fold_of(finish);
    uint8_t *space = scratch;
    int64_t *cells = (int64_t *)(space + p.codes), *places = (int64_t *)((uint8_t *)cells + p.cells);
    low_bit_kind *kinds = (low_bit_kind *)((uint8_t *)places + p.places);
    low_bit_range *ranges = (low_bit_range *)((uint8_t *)kinds + p.kinds);
    int64_t *bases = (int64_t *)((uint8_t *)ranges + p.ranges), taps = s->kernel_h * p.shape.kernel_w;
    int32_t *sums = (int32_t *)((uint8_t *)bases + p.bases);
    (void)weights;
    for (int64_t row = first; row < last; row += p.band.rows) {
        int64_t end = low_bit_at_most(row + p.band.rows, last);
        int64_t count = low_bit_sort(&p.shape, row, end, ranges, bases, cells, places, kinds);
        widen(s, &p, x, wide == LOW_BIT_SIGNED ? 128 : 0, row, end, scratch);
        for (int64_t block = 0; block < s->out_channels; block += LANES) {
            layer l = {scratch, (const int16_t *)packed + block * taps * p.pairs * 2, p.pairs, p.shape.kernel_w,
                       low_bit_step(low_bit_rows(s)) * p.width, low_bit_step(low_bit_columns(&p.shape))};
            int64_t outs = low_bit_at_most(s->out_channels - block, LANES);
            for (int64_t k = 0; k < count; ++k) {
                for (int64_t i = kinds[k].first, n; i < kinds[k].first + kinds[k].count; i += n) {
                    n = low_bit_at_most(kinds[k].first + kinds[k].count - i, PIXELS);
                    tile(&l, kinds + k, cells + i, sums, n);
                    for (int64_t j = 0; j < n; ++j) {
                        int64_t at = (row * s->out_width + places[i + j]) * s->out_channels + block;
                        low_bit_finish_32(finish, fold, sums + j * LANES, block, outs, out, at);
                    }
                }
            }
        }
    }
}

const low_bit_kernel low_bit_int8_avx2 = {
    "avx2-int8", runs_here, supports, packed_bytes, pack, scratch_bytes, convolve,
};
