/* How swar_table.c lays out weights, lanes and scratch memory. */
#ifndef MODICUM_SWAR_TABLE_H
#define MODICUM_SWAR_TABLE_H

#include "swar.h"

#define UNITS 4                    /* tables looked up before an accumulator goes back to memory */
#define STRIP (INT64_C(1) << 20)   /* bytes of accumulators at a time, unless one row needs more */

/* words: of an accumulator and a table entry. planes: look-ups for a group of channels. pitch: outputs of a row with
 * those beside it that no picture has. halo: steps from the first tap to the last. rows: of a strip. segment: outputs of
 * a lane. */
typedef struct {
    int64_t taps, in, out, words, planes, pitch, halo, rows, segment, group, units;
} plan;

static int64_t segment_of(const low_bit_shape *s, int64_t pitch, int64_t rows) {
    return up((rows - 1) * pitch + s->out_width, LANES);
}

static plan planned(const low_bit_shape *s, int weights, int wide) {
    plan p = {0};
    p.taps = s->kernel_h * s->kernel_w;
    p.in = s->channels / s->groups;
    p.out = s->out_channels / s->groups;
    p.planes = weights == LOW_BIT_TERNARY ? 2 : 1;
    p.words = wide || weights == LOW_BIT_TERNARY ? 2 : 1;
    const int64_t halo_w = (s->kernel_w - 1) * s->dilation_w / s->stride_w;
    p.pitch = s->out_width + halo_w;
    p.halo = (s->kernel_h - 1) * s->dilation_h / s->stride_h * p.pitch + halo_w;
    p.rows = STRIP * LANES / (p.pitch * (s->out_channels + 2 * s->groups) * p.words * 8 + 1);
    p.rows = p.rows < 1 ? 1 : min64(p.rows, s->out_height < 1 ? 1 : s->out_height);
    p.segment = segment_of(s, p.pitch, p.rows);
    double best = 0;
    for (int64_t g = 1; g <= 8; ++g) { /* not of the picture: weights serve any size. An entry costs as a look-up */
        const double cost = (double)up(p.in, g) * (1.5 * (double)(1 << g) + (double)(p.taps * p.out * p.planes));
        if (g == 1 || cost < best) {
            best = cost;
            p.group = g;
        }
    }
    p.units = up(p.in, p.group);
    return p;
}

static int64_t packed_bytes(const low_bit_shape *s, int weights, int wide) {
    const plan p = planned(s, weights, wide);
    return s->groups * p.units * p.taps * p.out * p.planes;
}

/* Subset numbers in the order in which they are looked up: group, UNITS units, tap, output channel, unit, plane. */
static void pack(const low_bit_shape *s, int weights, int wide, const int8_t *from, void *to) {
    const plan p = planned(s, weights, wide);
    uint8_t *code = to;
    for (int64_t group = 0; group < s->groups; ++group) {
        for (int64_t first = 0; first < p.units; first += UNITS) {
            const int64_t last = min64(first + UNITS, p.units);
            for (int64_t tap = 0; tap < p.taps; ++tap) {
                for (int64_t o = group * p.out; o < (group + 1) * p.out; ++o) {
                    const int8_t *w = from + (o * p.taps + tap) * p.in;
                    for (int64_t at = first * p.planes; at < last * p.planes; ++at) {
                        const int64_t start = at / p.planes * p.group, end = min64(start + p.group, p.in);
                        const int limit = at % p.planes ? 0 : -1; /* the second plane holds M */
                        *code = 0;
                        for (int64_t c = start; c < end; ++c) {
                            *code |= (uint8_t)((w[c] <= limit) << (c - start));
                        }
                        ++code;
                    }
                }
            }
        }
    }
}

/* Where the parts of the scratch memory begin, all of 64 bits. */
typedef struct {
    uint64_t *sums, *seen, *inputs, *table;
    int64_t *step, *phase;
    int32_t *row;
} places;

static int64_t scratch_places(const low_bit_shape *s, const plan *p, uint64_t *at, places *to) {
    const int64_t sizes[] = {p->segment * s->out_channels * p->words, p->segment * s->groups * 2,
                             s->groups * up(p->in, LANES) * LANES,    UNITS * 256 * p->words,
                             p->taps,                                 p->taps};
    uint64_t *part[7] = {at};
    for (int i = 0; i < 6; ++i) {
        part[i + 1] = at == NULL ? NULL : part[i] + sizes[i];
    }
    *to = (places){part[0], part[1], part[2], part[3], (int64_t *)part[4], (int64_t *)part[5], (int32_t *)part[6]};
    return (sizes[0] + sizes[1] + sizes[2] + sizes[3] + sizes[4] + sizes[5] + up(s->out_channels, 2)) * 8;
}

static int64_t scratch_bytes(const low_bit_shape *s, int weights, int wide, int64_t rows) {
    const plan p = planned(s, weights, wide);
    places to;
    (void)rows;
    return scratch_places(s, &p, NULL, &to);
}

#endif
