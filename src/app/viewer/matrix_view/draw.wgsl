// Draws a part of a matrix, or of its storage, straight from the buffer its values lie in: every pixel
// finds the cells it covers and colours the one that stands out. `range` finds the least and the
// greatest value for the colour scale.
//
// Renderers in software run both sides of every branch and divide integers one by one. So a pixel's loop has
// one load and no division, and what blocks need is there only where there are blocks.

override BLOCKS: bool = false;

struct View {
    rows: i32,
    cols: i32,
    lower: i32,
    upper: i32,
    width: i32,     // slots of one line of storage
    flags: u32,     // 1 columns layout, 2 dense matrix, 4 the view shows storage, 8 the target is sRGB
    dtype: u32,     // 0 f32, 1 f16, 2 u32, 3 bf16
    first: u32,     // the matrix's first value in the binding
    left: i32,      // the cell at the top left corner, and which part of it is cut off
    top: i32,
    left_part: f32,
    top_part: f32,
    cells_x: f32,   // cells to a pixel
    cells_y: f32,
    pixels_x: f32,  // the view's size
    pixels_y: f32,
    low: f32,       // the colour scale's ends, after bending if there is a knee
    high: f32,
    knee: f32,      // 0, or asinh(value / knee) is shown
    samples: i32,   // cells looked at in each direction of one pixel
    count: u32,     // values that `range` looks at
    block_rows: i32,
    block_cols: i32,
    blocks: u32,    // stored ones
    unstored: vec4<f32>,
    outside: vec4<f32>,
    hatch: vec4<f32>,
    gap: vec4<f32>,
}

@group(0) @binding(0) var<uniform> view: View;
@group(0) @binding(1) var<storage, read> data: array<u32>;
@group(0) @binding(2) var<uniform> colors: array<vec4<f32>, 256>;
@group(0) @binding(3) var<storage, read_write> found: array<vec4<u32>>;
// Of blocks: where each line of them starts; partner and slot of each, line by line; block row and column
// of each slot.
@group(0) @binding(4) var<storage, read> index: array<u32>;

const NOTHING = 0u;
const UNSTORED = 1u;
const OUTSIDE = 2u;
const VALUE = 3u;

struct Cell {
    kind: u32,
    bits: u32,
}

// The value's bits as f32; NaN and infinity are told by their bits, since drivers may assume there are none.
fn load(slot: u32) -> Cell {
    let at = view.first + slot;
    let halves = (view.dtype & 1u) != 0u;
    let word = data[select(at, at >> 1u, halves)];
    let half = word >> select(0u, (at & 1u) * 16u, halves) & 0xffffu;
    var bits = select(word, bitcast<u32>(f32(word)), view.dtype == 2u);
    bits = select(bits, bitcast<u32>(unpack2x16float(half).x), view.dtype == 1u);
    bits = select(bits, half << 16u, view.dtype == 3u);
    return Cell(select(VALUE, UNSTORED, (view.dtype == 2u) & (word == 0xffffffffu)), bits);
}

fn lines() -> i32 { return select(view.rows, view.cols, (view.flags & 1u) != 0u); }

// Whether place k of a line of band storage lies inside the matrix.
fn inside(line: i32, k: i32) -> bool {
    let columns = (view.flags & 1u) != 0u;
    let partner = line + k - select(view.lower, view.upper, columns);
    return (partner >= 0) & (partner < select(view.cols, view.rows, columns));
}

// Lines of blocks, and how many rows and columns of cells these are.
fn block_lines() -> i32 {
    if (view.flags & 1u) != 0u { return (view.cols + view.block_cols - 1) / view.block_cols; }
    return (view.rows + view.block_rows - 1) / view.block_rows;
}

fn block_cell(x: i32, y: i32) -> Cell {
    let columns = (view.flags & 1u) != 0u;
    let block = vec2(y / view.block_rows, x / view.block_cols);
    let line = select(block.x, block.y, columns);
    let other = u32(select(block.y, block.x, columns));
    var at = index[line];
    let end = index[line + 1];
    let entries = u32(block_lines()) + 1u;
    if (view.flags & 4u) != 0u {
        at += other;
        if at >= end { return Cell(NOTHING, 0u); }
    } else {
        // The first block that is not before this one.
        var after = end;
        while at < after {
            let middle = (at + after) / 2u;
            if index[entries + 2u * middle] < other { at = middle + 1u; } else { after = middle; }
        }
        var there = false;
        if at < end { there = index[entries + 2u * at] == other; }
        if !there { return Cell(select(UNSTORED, NOTHING, y >= view.rows || x >= view.cols), 0u); }
    }
    let partner = i32(index[entries + 2u * at]);
    let slot = index[entries + 2u * at + 1u];
    let inside = vec2(y % view.block_rows, x % view.block_cols);
    let row = select(y, partner * view.block_rows + inside.x, columns);
    let col = select(partner * view.block_cols + inside.y, x, columns);
    if row >= view.rows || col >= view.cols { return Cell(OUTSIDE, 0u); }
    let n = select(inside.x * view.block_cols + inside.y, inside.y * view.block_rows + inside.x, columns);
    return load(slot * u32(view.block_rows * view.block_cols) + u32(n));
}

// Whether a value of a block lies inside the matrix.
fn block_inside(slot: u32) -> bool {
    let size = u32(view.block_rows * view.block_cols);
    let n = i32(slot % size);
    let of_slots = u32(block_lines()) + 1u + 2u * view.blocks + slot / size * 2u;
    var inside = vec2(n / view.block_cols, n % view.block_cols);
    if (view.flags & 1u) != 0u { inside = vec2(n % view.block_rows, n / view.block_rows); }
    let row = i32(index[of_slots]) * view.block_rows + inside.x;
    let col = i32(index[of_slots + 1u]) * view.block_cols + inside.y;
    return row < view.rows && col < view.cols;
}

fn cell(x: i32, y: i32) -> Cell {
    if BLOCKS { return block_cell(x, y); }
    let columns = (view.flags & 1u) != 0u;
    let banded = (view.flags & 6u) == 0u;
    let line = select(y, x, columns);
    let diagonal = x - y;
    let k = select(select(x, y, columns), select(diagonal + view.lower, view.upper - diagonal, columns), banded);
    let unstored = banded & ((diagonal < -view.lower) | (diagonal > view.upper));
    let outside = ((view.flags & 4u) != 0u) & !inside(line, k);
    let here = load(select(u32(line) * u32(view.width) + u32(k), 0u, unstored | outside));
    return Cell(select(select(here.kind, OUTSIDE, outside), UNSTORED, unstored), here.bits);
}

fn size_of_grid() -> vec2<i32> {
    var size = vec2(view.cols, view.rows);
    if BLOCKS {
        let block = vec2(view.block_cols, view.block_rows);
        size = (size + block - 1) / block * block;
    }
    if (view.flags & 4u) == 0u { return size; }
    if (view.flags & 1u) != 0u { return vec2(size.x, view.width); }
    return vec2(view.width, size.y);
}

// How much a cell stands out: by size, NaN and infinity before all.
fn rank(cell: Cell) -> u32 {
    if cell.kind != VALUE { return cell.kind; }
    return VALUE + (cell.bits & 0x7fffffffu);
}

fn scaled(value: f32) -> f32 {
    var bent = value;
    if view.knee > 0.0 { bent = asinh(value / view.knee); }
    // Halves, since what lies between the ends may be more than an f32 holds.
    return clamp((bent * 0.5 - view.low * 0.5) / (view.high * 0.5 - view.low * 0.5), 0.0, 1.0);
}

// The cells that pixel p covers along one direction: from, and one beyond.
fn covered(p: f32, corner: i32, part: f32, cells: f32) -> vec2<i32> {
    if cells <= 1.0 {
        let one = corner + i32(floor(part + (p + 0.5) * cells));
        return vec2(one, one + 1);
    }
    let first = corner + i32(floor(part + p * cells));
    return vec2(first, max(first + 1, corner + i32(floor(part + (p + 1.0) * cells))));
}

// How far to go at a time, so that that many cells are looked at.
fn stride(cells: i32) -> i32 {
    return max(i32(ceil(f32(cells) / f32(view.samples) - 0.01)), 1);
}

struct Vertex {
    @builtin(position) position: vec4<f32>,
    @location(0) pixel: vec2<f32>,
}

@vertex
fn vertex(@builtin(vertex_index) index: u32) -> Vertex {
    let corner = vec2(f32((index << 1u) & 2u), f32(index & 2u));
    return Vertex(vec4(corner.x * 2.0 - 1.0, 1.0 - corner.y * 2.0, 0.0, 1.0), corner * vec2(view.pixels_x, view.pixels_y));
}

@fragment
fn fragment(@location(0) at: vec2<f32>) -> @location(0) vec4<f32> {
    let pixel = floor(at);
    let size = size_of_grid();
    let xs = covered(pixel.x, view.left, view.left_part, view.cells_x);
    let ys = covered(pixel.y, view.top, view.top_part, view.cells_y);
    if xs.y <= 0 || ys.y <= 0 || xs.x >= size.x || ys.x >= size.y { discard; }

    // The cell that stands out among those covered.
    var best = Cell(select(UNSTORED, NOTHING, BLOCKS), 0u);
    let y0 = max(ys.x, 0);
    let y1 = min(ys.y, size.y);
    let step_y = stride(y1 - y0);
    let banded = ((view.flags & 6u) == 0u) & !BLOCKS;
    for (var y = y0; y < y1; y += step_y) {
        // Of a row, only what the band stores there.
        let x0 = max(max(xs.x, 0), select(0, y - view.lower, banded));
        let x1 = min(min(xs.y, size.x), select(size.x, y + view.upper + 1, banded));
        let step_x = stride(x1 - x0);
        for (var x = x0; x < x1; x += step_x) {
            let here = cell(x, y);
            if rank(here) > rank(best) { best = here; }
        }
    }
    return vec4(encode(color(best, pixel)), 1.0);
}

fn color(best: Cell, pixel: vec2<f32>) -> vec3<f32> {
    // Which part of its cell the pixel is, and lines between cells that are large enough.
    let place = vec2(view.left_part + (pixel.x + 0.5) * view.cells_x, view.top_part + (pixel.y + 0.5) * view.cells_y);
    let part = place - floor(place);
    let small = max(view.cells_x, view.cells_y);
    if small <= 0.125 && (part.x + view.cells_x > 1.0 || part.y + view.cells_y > 1.0) { return view.gap.xyz; }
    if best.kind == NOTHING { return view.gap.xyz; }
    if best.kind == UNSTORED { return view.unstored.xyz; }
    if best.kind == OUTSIDE {
        let along = pixel.x + pixel.y;
        return select(view.outside.xyz, view.hatch.xyz, along - 6.0 * floor((along + 0.5) / 6.0) < 0.5);
    }
    let cross = small <= 0.2 && min(abs(part.x - part.y), abs(part.x + part.y - 1.0)) < small;
    let size = best.bits & 0x7fffffffu;
    if size >= 0x7f800000u && cross { return vec3(1.0); }
    if size > 0x7f800000u { return vec3(230.0, 0.0, 200.0) / 255.0; }
    if best.bits == 0x7f800000u { return vec3(255.0, 140.0, 0.0) / 255.0; }
    if best.bits == 0xff800000u { return vec3(40.0, 44.0, 52.0) / 255.0; }
    let at = scaled(bitcast<f32>(best.bits)) * 255.0;
    let low = u32(floor(at));
    return mix(colors[low].xyz, colors[min(low + 1u, 255u)].xyz, at - floor(at));
}

// Colours are as screens take them; an sRGB target converts once more, so that is undone first.
fn encode(color: vec3<f32>) -> vec3<f32> {
    if (view.flags & 8u) == 0u { return color; }
    return select(pow((color + 0.055) / 1.055, vec3(2.4)), color / 12.92, color <= vec3(0.04045));
}

var<workgroup> lows: array<f32, 256>;
var<workgroup> highs: array<f32, 256>;
var<workgroup> marks: atomic<u32>;

@compute @workgroup_size(256)
fn range(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
) {
    var low = 3.4e38;
    var high = -3.4e38;
    var mark = 0u; // 1 a finite value, 2 NaN, 4 infinity, 8 minus infinity
    let dense = (view.flags & 2u) != 0u;
    for (var slot = group.x * 256u + local; slot < view.count; slot += groups.x * 256u) {
        var counts = dense;
        if BLOCKS {
            counts = block_inside(slot);
        } else if !dense {
            counts = inside(i32(slot / u32(view.width)) % lines(), i32(slot % u32(view.width)));
        }
        if !counts { continue; }
        let here = load(slot);
        if here.kind != VALUE { continue; }
        let size = here.bits & 0x7fffffffu;
        if size > 0x7f800000u {
            mark |= 2u;
        } else if size == 0x7f800000u {
            mark |= select(4u, 8u, here.bits != size);
        } else {
            mark |= 1u;
            low = min(low, bitcast<f32>(here.bits));
            high = max(high, bitcast<f32>(here.bits));
        }
    }
    lows[local] = low;
    highs[local] = high;
    atomicOr(&marks, mark);
    workgroupBarrier();
    for (var half = 128u; half > 0u; half /= 2u) {
        if local < half {
            lows[local] = min(lows[local], lows[local + half]);
            highs[local] = max(highs[local], highs[local + half]);
        }
        workgroupBarrier();
    }
    if local == 0u {
        found[group.x] = vec4(bitcast<u32>(lows[0]), bitcast<u32>(highs[0]), atomicLoad(&marks), 0u);
    }
}
