/* Tables of 64 sums of bytes, looked up by one instruction for 64 output channels: AVX-512 with VBMI.
 *
 * Six input channels of a pixel have a table of 64 sums modulo 2^8: entry i is the sum of +-x for binary weights, minus
 * where bit j of i is 1; for ternary weights the sum of those whose bit is 1, and an output channel looks up its positive
 * and its negative weights. A lane is an output channel and holds its six weights as six bits. One look-up and one wrapping
 * addition of bytes are 64 x 6 products.
 *
 * Tables are made once for an input pixel and serve all taps and output channels: a ring of input rows holds them. P
 * neighbouring output pixels and B blocks of 64 channels are made at once; three taps beside each other with stride 1 use
 * a table while it is in a register. Taps outside of the picture are skipped. With LOW_BIT_EMULATE vectors are arrays.
 */
#if defined(__AVX512VBMI__) || defined(LOW_BIT_EMULATE)
#include "bytes64.h"

#include "finish.h"

#define SIX 6
#define WIDE 8  /* most output pixels at once */
#define RUN 3   /* taps at once */

#if defined(__clang__)
#define UNROLL _Pragma("clang loop unroll(full)")
#else
#define UNROLL _Pragma("GCC unroll 16")
#endif

LOW_BIT_FINISH(finish_8, int8_t)

#if defined(LOW_BIT_EMULATE)
extern const low_bit_kernel low_bit_emulated;
#define KERNEL low_bit_emulated
#define KERNEL_NAME "avx512vbmi-emulated"
static int runs_here(void) { return 1; }
#else
#define KERNEL low_bit_avx512vbmi
#define KERNEL_NAME "avx512vbmi"
/* Also asks whether the system keeps the registers. */
static int runs_here(void) {
    return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512vl") &&
           __builtin_cpu_supports("avx512vbmi") && __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
}
#endif

/* tables: of a pixel of one group. blocks: of 64 output channels of one group. ring: input rows held. */
typedef struct {
    int64_t in, out, tables, blocks, planes, ring, pitch;
} plan;

static plan planned(const low_bit_shape *s, int weights) {
    plan p;
    p.in = s->channels / s->groups;
    p.out = s->out_channels / s->groups;
    p.tables = (p.in + SIX - 1) / SIX;
    p.blocks = (p.out + 63) / 64;
    p.planes = weights == LOW_BIT_TERNARY ? 2 : 1;
    p.ring = (s->kernel_h - 1) * s->dilation_h + 1;
    p.ring = p.ring < s->height ? p.ring : s->height;
    p.pitch = s->groups * p.tables * 64;
    return p;
}

static int supports(const low_bit_shape *s, int weights, int bits, int wide) {
    (void)s;
    return (weights == LOW_BIT_BINARY || weights == LOW_BIT_TERNARY) && bits <= 8 && !wide;
}

static int64_t packed_bytes(const low_bit_shape *s, int weights, int wide) {
    const plan p = planned(s, weights);
    (void)wide;
    return s->groups * p.blocks * s->kernel_h * s->kernel_w * p.tables * p.planes * 64;
}

/* Taps that are added together from tap kx on. */
static int64_t run_of(const low_bit_shape *s, int64_t kx) {
    return s->stride_w == 1 && s->dilation_w == 1 && s->kernel_w - kx >= RUN ? RUN : 1;
}

/* Blocks that are added together from a block on: ternary weights need the registers for their second plane. */
static int64_t blocks_of(const plan *p, int64_t block) { return p->planes == 1 && p->blocks - block >= 2 ? 2 : 1; }

/* 64 table entry numbers of a block, `plane` 1 for the negative weights of ternary ones; c: the first of six channels. */
static void pack_lanes(const low_bit_shape *s, const plan *p, const int8_t *from, int64_t group, int64_t block, int64_t tap,
                       int64_t c, int value, uint8_t *to) {
    memset(to, 0, 64);
    for (int64_t lane = 0; lane < 64 && block * 64 + lane < p->out; ++lane) {
        const int8_t *w = from + ((group * p->out + block * 64 + lane) * s->kernel_h * s->kernel_w + tap) * p->in;
        for (int64_t i = c; i < c + SIX && i < p->in; ++i) {
            to[lane] |= (uint8_t)((w[i] == value) << (i - c));
        }
    }
}

/* In the order of use: group, blocks at once, row of taps, taps at once, table, tap, plane, block. */
static void pack(const low_bit_shape *s, int weights, int wide, const int8_t *from, void *packed) {
    const plan p = planned(s, weights);
    uint8_t *to = packed;
    (void)wide;
    for (int64_t group = 0; group < s->groups; ++group) {
        for (int64_t block = 0, many; block < p.blocks; block += many) {
            many = blocks_of(&p, block);
            for (int64_t ky = 0; ky < s->kernel_h; ++ky) {
                for (int64_t kx = 0, run; kx < s->kernel_w; kx += run) {
                    run = run_of(s, kx);
                    const int64_t vectors = p.tables * run * p.planes * many;
                    for (int64_t i = 0; i < vectors; ++i, to += 64) {
                        const int64_t plane = i / many % p.planes, k = i / many / p.planes % run, table = i / many / p.planes / run;
                        pack_lanes(s, &p, from, group, block + i % many, ky * s->kernel_w + kx + k, table * SIX,
                                   p.planes == 2 && plane == 0 ? 1 : -1, to);
                    }
                }
            }
        }
    }
}

static int64_t scratch_bytes(const low_bit_shape *s, int weights, int wide, int64_t rows) {
    const plan p = planned(s, weights);
    (void)wide, (void)rows;
    return p.ring * s->width * p.pitch + WIDE * s->groups * p.blocks * 64;
}
#include "avx512vbmi.inc"

/* Output pixels of a piece: pieces of a row are about as wide as each other. */
static int64_t width_of(const low_bit_shape *s) {
    const int64_t pieces = (s->out_width + WIDE - 1) / WIDE;
    return pieces > 0 ? (s->out_width + pieces - 1) / pieces : 1;
}

static void convolve(const low_bit_shape *s, int weights, int wide, const uint8_t *x, const void *packed, int64_t first,
                     int64_t last, void *scratch, const low_bit_finish *finish, void *out) {
    const plan p = planned(s, weights);
    const low_bit_fold fold = low_bit_fold_of(finish);
    const int64_t width = width_of(s), lanes = s->groups * p.blocks * 64;
    uint8_t *ring = scratch, *sums = ring + p.ring * s->width * p.pitch;
    int64_t made = 0;
    (void)wide;
    for (int64_t row = first; row < last; ++row) {
        const int64_t top = row % s->out_height * s->stride_h - s->pad_h, bottom = top + (s->kernel_h - 1) * s->dilation_h;
        const uint8_t *picture = x + row / s->out_height * s->height * s->width * s->channels;
        if (row == first || row % s->out_height == 0) {
            made = 0;
        }
        made = made > top ? made : top;
        for (; made <= bottom && made < s->height; ++made) {
            make_row(s, &p, weights, picture + made * s->width * s->channels, ring + made % p.ring * s->width * p.pitch);
        }
        for (int64_t column = 0; column < s->out_width; column += width) {
            const int64_t count = s->out_width - column < width ? s->out_width - column : width;
            piece(s, &p, packed, ring, top, column, count, sums);
            for (int64_t pixel = 0; pixel < count; ++pixel) {
                for (int64_t group = 0; group < s->groups; ++group) {
                    const int8_t *sum = (const int8_t *)sums + pixel * lanes + group * p.blocks * 64;
                    const int64_t at = (row * s->out_width + column + pixel) * s->out_channels + group * p.out;
                    finish_8(finish, fold, sum, group * p.out, p.out, out, at);
                }
            }
        }
    }
}

const low_bit_kernel KERNEL = {KERNEL_NAME, runs_here, supports, packed_bytes, pack, scratch_bytes, convolve};
#endif
