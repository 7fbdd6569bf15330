/* Which output pixels a look-up kernel takes together. All pixels of a tile see the same taps, so that taps outside the
 * picture are skipped and no inner loop asks about them: rows and columns are sorted by the taps they see, which gives
 * nine kinds of pixels for a padded 3x3 kernel.
 *
 * Tables of partial sums stand in rows and columns of cells, a cell for a pixel of the input. Where a kernel is one row
 * high, a row of cells stands for a row of the output (others are never seen); otherwise for a row of the input. The same
 * for columns.
 */
#ifndef MODICUM_LOW_BIT_TILES_H
#define MODICUM_LOW_BIT_TILES_H

#include "low_bit.h"

/* One direction. Output i sees taps k = 0..taps - 1 at input i * stride - pad + k * dilation where 0 <= that < size. */
typedef struct {
    int64_t size, outs, taps, stride, pad, dilation;
} low_bit_axis;

/* The taps first <= k < last that an output sees. */
typedef struct {
    int64_t first, last;
} low_bit_range;

static INLINE low_bit_axis low_bit_rows(const low_bit_shape *s) {
    low_bit_axis axis = {s->height, s->out_height, s->kernel_h, s->stride_h, s->pad_h, s->dilation_h};
    return axis;
}

static INLINE low_bit_axis low_bit_columns(const low_bit_shape *s) {
    low_bit_axis axis = {s->width, s->out_width, s->kernel_w, s->stride_w, s->pad_w, s->dilation_w};
    return axis;
}

static INLINE int64_t low_bit_at_least(int64_t value, int64_t least) { return value < least ? least : value; }
static INLINE int64_t low_bit_at_most(int64_t value, int64_t most) { return value > most ? most : value; }

static INLINE low_bit_range low_bit_seen(low_bit_axis a, int64_t out) {
    int64_t start = out * a.stride - a.pad, d = a.dilation;
    int64_t first = start >= 0 ? 0 : (-start + d - 1) / d;
    int64_t last = start >= a.size ? 0 : (a.size - start + d - 1) / d;
    low_bit_range range = {low_bit_at_most(first, a.taps), low_bit_at_most(last, a.taps)};
    range.last = low_bit_at_least(range.last, range.first);
    return range;
}

/* The cell of tap k of an output, and the input it stands for. */
static INLINE int64_t low_bit_cell(low_bit_axis a, int64_t out, int64_t tap) {
    return a.taps == 1 ? out : out * a.stride - a.pad + tap * a.dilation;
}

static INLINE int64_t low_bit_input(low_bit_axis a, int64_t cell) {
    return a.taps == 1 ? cell * a.stride - a.pad : cell;
}

/* Cells of a whole direction. */
static INLINE int64_t low_bit_cells(low_bit_axis a) { return a.taps == 1 ? a.outs : a.size; }

/* Cells from tap to tap; 0 where there is one tap. */
static INLINE int64_t low_bit_step(low_bit_axis a) { return a.taps == 1 ? 0 : a.dilation; }

/* Cells first <= c < last that outputs first_out <= i < last_out see; none where they see none. */
static INLINE low_bit_range low_bit_cells_of(low_bit_axis a, int64_t first_out, int64_t last_out) {
    low_bit_range range = {0, 0};
    if (first_out < last_out) {
        range.first = low_bit_at_least(low_bit_cell(a, first_out, 0), 0);
        range.last = low_bit_at_most(low_bit_cell(a, last_out - 1, a.taps - 1) + 1, low_bit_cells(a));
        range.last = low_bit_at_least(range.last, range.first);
    }
    return range;
}

/* Pixels of one kind: the taps they see, and which of a band's pixels they are. */
typedef struct {
    low_bit_range rows, columns;
    int64_t first, count;
} low_bit_kind;

/* Output rows that are made together, as many as their tables fit into a cache. cells: rows of cells they need at most. */
typedef struct {
    int64_t rows, cells, pixels;
} low_bit_band;

#define BAND_PIXELS 2048

/* For calls of `rows` output rows, where a row of cells takes row_bytes of the `budget`. */
static INLINE low_bit_band low_bit_band_of(const low_bit_shape *s, int64_t rows, int64_t row_bytes, int64_t budget) {
    low_bit_axis axis = low_bit_rows(s);
    int64_t all = low_bit_at_least(low_bit_cells(axis), 1), outs = low_bit_at_least(s->out_height, 1);
    int64_t fit = low_bit_at_least(budget / low_bit_at_least(row_bytes, 1), 1), step = axis.taps == 1 ? 1 : axis.stride;
    int64_t extent = (axis.taps - 1) * axis.dilation + 1;
    int64_t most = fit >= all ? fit / all * outs : (low_bit_at_least(fit - extent, 0)) / step + 1;
    most = low_bit_at_most(most, low_bit_at_least(BAND_PIXELS / low_bit_at_least(s->out_width, 1), 1));
    most = low_bit_at_least(low_bit_at_most(most, rows), 1);
    int64_t pictures = low_bit_at_most(most / outs + 2, most);
    low_bit_band band = {most, low_bit_at_most(pictures * all, most * step + pictures * extent), most * s->out_width};
    return band;
}

/* Rows of cells of one picture that a band needs; `row`: the first of them among the band's. */
typedef struct {
    int64_t picture, row;
    low_bit_range outs, cells;
} low_bit_part;

/* The part of rows first <= row < last that lies in one picture, from row `first` on, whose cells begin at row `row`. */
static INLINE low_bit_part low_bit_part_of(const low_bit_shape *s, int64_t first, int64_t last, int64_t row) {
    low_bit_part part = {first / s->out_height, row, {first % s->out_height, 0}, {0, 0}};
    part.outs.last = low_bit_at_most(s->out_height, last - part.picture * s->out_height);
    part.cells = low_bit_cells_of(low_bit_rows(s), part.outs.first, part.outs.last);
    return part;
}

/* The pixels of one kind of row, appended to `cell` and `place` and told in `kinds`; the numbers of both are returned by
 * pointers. seen, base: of the band's rows, `rows` of them; rows that are done have seen.first -1 afterwards. */
static INLINE void low_bit_sort_kind(const low_bit_shape *s, int64_t row, int64_t rows, low_bit_range *seen,
                                     const int64_t *base, int64_t *cell, int64_t *place, low_bit_kind *kinds,
                                     int64_t *count, int64_t *pixels) {
    low_bit_axis columns = low_bit_columns(s);
    low_bit_range of_rows = seen[row];
    int64_t width = low_bit_cells(columns), step = columns.taps == 1 ? 1 : columns.stride;
    for (int64_t from = 0, to; from < s->out_width; from = to) {
        low_bit_range range = low_bit_seen(columns, from), next = range;
        for (to = from + 1; to < s->out_width; ++to) {
            next = low_bit_seen(columns, to);
            if (next.first != range.first || next.last != range.last) {
                break;
            }
        }
        int64_t n = *pixels, empty = range.first == range.last || of_rows.first == of_rows.last;
        for (int64_t r = row; r < rows; ++r) {
            if (seen[r].first != of_rows.first || seen[r].last != of_rows.last) {
                continue;
            }
            int64_t start = empty ? 0 : base[r] * width + low_bit_cell(columns, from, range.first);
            for (int64_t i = 0; i < to - from; ++i, ++n) {
                cell[n] = start + (empty ? 0 : i * step);
                place[n] = r * s->out_width + from + i;
            }
        }
        low_bit_kind kind = {of_rows, range, *pixels, n - *pixels};
        kinds[(*count)++] = kind;
        *pixels = n;
    }
    for (int64_t r = row + 1; r < rows; ++r) {
        if (seen[r].first == of_rows.first && seen[r].last == of_rows.last) {
            seen[r].first = -1;
        }
    }
}

/* All pixels of output rows first <= row < last, sorted by kinds. cell (pixels): the cell of a pixel's first tap; place
 * (pixels): its number in the band; seen and base (rows): working space. Gives the number of kinds, at most pixels. */
static INLINE int64_t low_bit_sort(const low_bit_shape *s, int64_t first, int64_t last, low_bit_range *seen, int64_t *base,
                                   int64_t *cell, int64_t *place, low_bit_kind *kinds) {
    low_bit_axis axis = low_bit_rows(s);
    int64_t count = 0, pixels = 0, row = 0;
    for (int64_t r = first; r < last;) {
        low_bit_part part = low_bit_part_of(s, r, last, row);
        for (int64_t out = part.outs.first; out < part.outs.last; ++out, ++r) {
            seen[r - first] = low_bit_seen(axis, out);
            base[r - first] = row + low_bit_cell(axis, out, seen[r - first].first) - part.cells.first;
        }
        row += part.cells.last - part.cells.first;
    }
    for (int64_t r = 0; r < last - first; ++r) {
        if (seen[r].first >= 0) {
            low_bit_sort_kind(s, r, last - first, seen, base, cell, place, kinds, &count, &pixels);
        }
    }
    return count;
}

#endif
