/* Binary and ternary weights by AVX2 look-ups: avx2_lookup.h in lanes of 8 bits, avx2_wide.h with sums of 16 bits.
 *
 * A band of output rows is made at a time. Tables of all input pixels it sees are built once; then, for every block of 64
 * output channels, weights of as many channels as fit the first-level cache go over all tiles of pixels, whose sums wait in
 * memory between two such passes; after the last pass a tile is finished while it is at hand.
 *
 * Packed weights: (block, unit, tap, slot, plus and minus where ternary, 64 channels or 32 in a last half block), a byte
 * each, its low four bits the index; plan_of says how scratch is divided.
 */
#include "avx2_wide.h"
#include "finish_avx2.h"

#define TABLE_BUDGET (384 * 1024) /* bytes of tables at a time: they stay in the second-level cache */
#define PASS_BUDGET (12 * 1024)   /* bytes of weights of a pass */

typedef void tile_function(const low_bit_pass *, const low_bit_kind *, const int64_t *, uint8_t *, int64_t);

/* Bytes of the parts of scratch, in the order in which they lie there, and what they follow from. */
typedef struct {
    low_bit_band band;
    int64_t planes, width, unit_bytes, plane_bytes, tables, totals, cells, places, kinds, ranges, bases, windows, sums;
} plan;

static int64_t lines(int64_t bytes) { return (bytes + 63) / 64 * 64; }

static plan plan_of(const low_bit_shape *s, int weights, int wide, int64_t rows) {
    plan p;
    int64_t slots = (s->channels + 3) / 4;
    p.planes = wide > WIDEST_PLANE ? 2 : 1;
    p.width = low_bit_cells(low_bit_columns(s));
    p.band = low_bit_band_of(s, rows, p.planes * p.width * slots * TABLE, TABLE_BUDGET);
    p.unit_bytes = p.band.cells * p.width * UNIT_SLOTS * TABLE;
    p.plane_bytes = lines(p.band.cells * p.width * slots * TABLE + TABLE); /* the last table may be written as two */
    p.tables = p.planes * p.plane_bytes;
    p.totals = wide && weights == LOW_BIT_BINARY ? lines(p.band.cells * p.width * (int64_t)sizeof(int32_t)) : 0;
    p.cells = p.places = lines(p.band.pixels * (int64_t)sizeof(int64_t));
    p.kinds = lines(p.band.pixels * (int64_t)sizeof(low_bit_kind));
    p.ranges = lines(p.band.rows * (int64_t)sizeof(low_bit_range));
    p.bases = lines(p.band.rows * (int64_t)sizeof(int64_t));
    p.windows = p.totals ? lines(p.band.pixels * (int64_t)sizeof(int32_t)) : 0;
    p.sums = p.band.pixels * (wide ? WIDE_BYTES : BLOCK);
    return p;
}

static int runs_here(void) { return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma"); }

static int supports(const low_bit_shape *s, int weights, int bits, int wide) {
    if (weights == LOW_BIT_INT8 || s->groups != 1 || wide == LOW_BIT_SIGNED) {
        return 0;
    }
    int64_t taps = s->kernel_h * s->kernel_w * s->channels;
    return wide == 0 ? bits <= 8 : bits <= 16 || taps * (((int64_t)1 << wide) - 1) <= INT16_MAX;
}

static int64_t slot_bytes(int64_t outs, int weights, int wide) {
    return (wide || outs > 32 ? BLOCK : 32) * (weights == LOW_BIT_TERNARY ? 2 : 1);
}

static int64_t packed_bytes(const low_bit_shape *s, int weights, int wide) {
    int64_t slots = s->kernel_h * s->kernel_w * ((s->channels + 3) / 4), rest = s->out_channels % BLOCK;
    int64_t bytes = s->out_channels / BLOCK * slots * slot_bytes(BLOCK, weights, wide);
    return bytes + (rest ? slots * slot_bytes(rest, weights, wide) : 0);
}

static void pack(const low_bit_shape *s, int weights, int wide, const int8_t *from, void *to) {
    int64_t taps = s->kernel_h * s->kernel_w, c = s->channels;
    uint8_t *at = to;
    for (int64_t block = 0; block < s->out_channels; block += BLOCK) {
        int64_t outs = low_bit_at_most(s->out_channels - block, BLOCK), bytes = slot_bytes(outs, weights, wide);
        int64_t lanes = weights == LOW_BIT_TERNARY ? bytes / 2 : bytes;
        for (int64_t unit = 0; unit < units_of(c); ++unit) {
            for (int64_t i = 0; i < taps * slots_of(c, unit); ++i, at += bytes) {
                int64_t tap = i / slots_of(c, unit), slot = i % slots_of(c, unit);
                memset(at, 0, (size_t)bytes);
                for (int64_t o = 0; o < outs; ++o) {
                    for (int64_t j = 0, channel; j < 4; ++j) {
                        channel = channel_of(c, unit, slot, j);
                        int8_t w = channel < c ? from[((block + o) * taps + tap) * c + channel] : 0;
                        at[o] |= (uint8_t)((w > 0) << j);
                        if (weights == LOW_BIT_TERNARY) {
                            at[lanes + o] |= (uint8_t)((w < 0) << j);
                        }
                    }
                }
            }
        }
    }
}

static int64_t scratch_bytes(const low_bit_shape *s, int weights, int wide, int64_t rows) {
    plan p = plan_of(s, weights, wide, rows);
    return p.tables + p.totals + p.cells + p.places + p.kinds + p.ranges + p.bases + p.windows + p.sums;
}

/* Tables, and sums of codes where `totals` is not null, of one row of cells; `to`: where the first unit's row lies. */
static void build_row(const low_bit_shape *s, const plan *p, int weights, int wide, const uint8_t *row, uint8_t *tables,
                      int64_t at, int32_t *totals) {
    low_bit_axis columns = low_bit_columns(s);
    int64_t first = 0, last = p->width, step = columns.taps == 1 ? columns.stride : 1;
    first += first < last && low_bit_input(columns, first) < 0 ? (s->pad_w + s->stride_w - 1) / s->stride_w : 0;
    for (; first < last && low_bit_input(columns, last - 1) >= columns.size; --last) {
    }
    const uint8_t *x = row + low_bit_input(columns, first) * s->channels;
    for (int64_t plane = 0; plane < p->planes && first < last; ++plane) {
        int part = p->planes == 1 ? WHOLE_CODES : plane == 0 ? HIGH_NIBBLES : LOW_NIBBLES;
        for (int64_t unit = 0; unit < units_of(s->channels); ++unit) {
            int64_t cell_bytes = slots_of(s->channels, unit) * TABLE;
            uint8_t *to = tables + plane * p->plane_bytes + unit * p->unit_bytes + (at * p->width + first) * cell_bytes;
            unit_tables(x + unit * UNIT, step * s->channels, last - first, s->channels - unit * UNIT,
                        !wide && weights == LOW_BIT_BINARY, part, to);
        }
    }
    for (int64_t i = first; totals && i < last; ++i) {
        totals[at * p->width + i] = code_total(row + low_bit_input(columns, i) * s->channels, s->channels);
    }
}

/* What a call goes through unchanged. */
typedef struct {
    const low_bit_shape *shape;
    const low_bit_finish *finish;
    low_bit_fold fold;
    plan plan;
    int weights, wide, quick;
    const uint8_t *x, *packed;
    void *out;
    uint8_t *tables, *sums;
    int32_t *totals, *windows; /* of cells, and of all taps of a pixel; NULL where nobody asks */
    int64_t *cells, *places, *bases;
    low_bit_range *ranges;
    low_bit_kind *kinds;
} call;

static void build(const call *c, int64_t first, int64_t last) {
    const low_bit_shape *s = c->shape;
    for (int64_t row = 0; first < last;) {
        low_bit_part part = low_bit_part_of(s, first, last, row);
        for (int64_t cell = part.cells.first; cell < part.cells.last; ++cell, ++row) {
            int64_t y = low_bit_input(low_bit_rows(s), cell);
            if (y >= 0 && y < s->height) {
                const uint8_t *from = c->x + (part.picture * s->height + y) * s->width * s->channels;
                build_row(s, &c->plan, c->weights, c->wide, from, c->tables, row, c->totals);
            }
        }
        first += part.outs.last - part.outs.first;
    }
}

static void finish_tile(const call *c, int64_t pixel, int64_t pixels, int64_t row, int64_t block) {
    int64_t outs = low_bit_at_most(c->shape->out_channels - block, BLOCK), at[PIXELS];
    for (int64_t i = 0; i < pixels; ++i) {
        at[i] = (row * c->shape->out_width + c->places[pixel + i]) * c->shape->out_channels + block;
    }
    if (!c->wide) {
        low_bit_tile tile = {(int8_t *)c->sums + pixel * BLOCK, at, pixels, BLOCK, block, c->out};
        finish_bytes(c->finish, c->fold, c->quick, tile, outs);
        return;
    }
    for (int64_t i = 0; i < pixels; ++i) {
        int16_t words[BLOCK];
        words_of(c->sums + (pixel + i) * WIDE_BYTES, c->windows != NULL, c->windows ? c->windows[pixel + i] : 0, words);
        low_bit_finish_16(c->finish, c->fold, words, block, outs, c->out, at[i]);
    }
}

/* All tiles of a band in one pass; `row`: the band's first, or -1 where another pass follows. */
static void go_over(const call *c, const low_bit_pass *pass, int64_t kinds, tile_function *tile, int64_t row,
                    int64_t block) {
    int64_t pitch = c->wide ? WIDE_BYTES : BLOCK;
    for (int64_t k = 0; k < kinds; ++k) {
        const low_bit_kind *kind = c->kinds + k;
        int64_t left = kind->count;
        /* Tiles as even as they can be: seven pixels are four and three, not six and one. */
        for (int64_t tiles = (left + PIXELS - 1) / PIXELS, at = kind->first; tiles > 0; --tiles) {
            int64_t pixels = left > tiles * (PIXELS - 1) ? PIXELS : (left + tiles - 1) / tiles;
            tile(pass, kind, c->cells + at, c->sums + at * pitch, pixels);
            if (row >= 0) {
                finish_tile(c, at, pixels, row, block);
            }
            at += pixels;
            left -= pixels;
        }
    }
}

static tile_function *tile_for(const call *c, int64_t outs) {
    int ternary = c->weights == LOW_BIT_TERNARY;
    if (c->wide) {
        return ternary ? ternary_wide_tile : binary_wide_tile;
    }
    if (outs > 32) {
        return ternary ? ternary_tile : binary_tile;
    }
    return ternary ? ternary_half_tile : binary_half_tile;
}

static void make_band(const call *c, int64_t first, int64_t last) {
    const low_bit_shape *s = c->shape;
    int64_t taps = s->kernel_h * s->kernel_w, units = units_of(s->channels), slots = (s->channels + 3) / 4;
    int64_t kinds = low_bit_sort(s, first, last, c->ranges, c->bases, c->cells, c->places, c->kinds);
    const uint8_t *weights = c->packed;
    build(c, first, last);
    if (c->windows) {
        window_totals(s, c->kinds, kinds, c->plan.width, c->totals, c->cells, c->windows);
    }
    for (int64_t block = 0; block < s->out_channels; block += BLOCK) {
        int64_t outs = low_bit_at_most(s->out_channels - block, BLOCK), bytes = slot_bytes(outs, c->weights, c->wide);
        int64_t unit_weights = taps * UNIT_SLOTS * bytes, each = low_bit_at_least(PASS_BUDGET / unit_weights, 1);
        for (int64_t plane = 0; plane < c->plan.planes; ++plane) {
            for (int64_t unit = 0; unit < units; unit += each) {
                int64_t end = low_bit_at_most(unit + each, units);
                low_bit_pass pass = {
                    c->tables + plane * c->plan.plane_bytes, weights, c->plan.unit_bytes, unit_weights, s->channels, unit,
                    end, s->kernel_w, low_bit_step(low_bit_rows(s)) * c->plan.width, low_bit_step(low_bit_columns(s)),
                    plane == 0 && unit == 0, plane == 1 && unit == 0, look_ups_of(c->wide),
                };
                int done = plane + 1 == c->plan.planes && end == units;
                go_over(c, &pass, kinds, tile_for(c, outs), done ? first : -1, block);
            }
        }
        weights += taps * slots * bytes;
    }
}

static void convolve(const low_bit_shape *s, int weights, int wide, const uint8_t *x, const void *packed, int64_t first,
                     int64_t last, void *scratch, const low_bit_finish *finish, void *out) {
    if (s->out_width < 1 || first >= last) {
        return;
    }
    uint8_t *at = scratch;
    call c = {s, finish, low_bit_fold_of(finish), plan_of(s, weights, wide, last - first), weights, wide, quick_fold(finish),
              x, packed, out, at, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL};
    at += c.plan.tables;
    c.totals = c.plan.totals ? (int32_t *)at : NULL;
    c.cells = (int64_t *)(at += c.plan.totals);
    c.places = (int64_t *)(at += c.plan.cells);
    c.kinds = (low_bit_kind *)(at += c.plan.places);
    c.ranges = (low_bit_range *)(at += c.plan.kinds);
    c.bases = (int64_t *)(at += c.plan.ranges);
    at += c.plan.bases;
    c.windows = c.totals ? (int32_t *)at : NULL;
    c.sums = at + c.plan.windows;
    for (int64_t row = first; row < last; row += c.plan.band.rows) {
        make_band(&c, row, low_bit_at_most(row + c.plan.band.rows, last));
    }
}

const low_bit_kernel low_bit_avx2 = {
    "avx2", runs_here, supports, packed_bytes, pack, scratch_bytes, convolve,
};
