// A step of `matmul.fours.wgsl`: what it reads, and what it adds.

// The columns of C that an invocation has, its slots' and those that left in this turn, and the scales of B's.
struct Window {
    c0: Sums,
    c1: Sums,
    c2: Sums,
    c3: Sums,
    done: Sums,
    scale0: vec4<f32>,
    scale1: vec4<f32>,
    scale2: vec4<f32>,
    scale3: vec4<f32>,
}

// One step more: 4 rows of A by the same p's 4 rows of B, of whose columns the invocation has four number `own` of those that the strip
// reaches until that step comes, when another takes its place. `edge` says whether a row of A may begin or end there.
fn multiply(
    before: Window, step: i32, own: i32, strip: i32, a_first: i32, a_fours: i32, b_first: i32, x_scale: vec4<f32>, ahead: Step, edge: bool,
) -> Window {
    // Four p of 4 rows of A, which begin and end one p after the other.
    let at_a = in_fours(a_first + step);
    var x0 = ring_scaled(of_a(ahead.x0, at_a), vec4(x_scale.x));
    var x1 = ring_scaled(of_a(ahead.x1, at_a + a_fours), vec4(x_scale.y));
    var x2 = ring_scaled(of_a(ahead.x2, at_a + 2 * a_fours), vec4(x_scale.z));
    var x3 = ring_scaled(of_a(ahead.x3, at_a + 3 * a_fours), vec4(x_scale.w));
    if edge {
        let pad = vec4(ring_pad());
        x0 = select(pad, x0, in_row(0, step, a_fours));
        x1 = select(pad, x1, in_row(1, step, a_fours));
        x2 = select(pad, x2, in_row(2, step, a_fours));
        x3 = select(pad, x3, in_row(3, step, a_fours));
    }

    // The owner's four is the old one from column k on, for row k of B, and the new one up to there.
    let owns = step == own;
    let at = in_fours(b_first + own + BEFORE + step * (B_WIDTH - 1));
    let at_first = in_fours(at + select(-BEFORE, FOURS - BEFORE, step > own));
    var w = before;
    let scale = w.scale0;
    if SCALES & owns { w.scale0 = scale_of(strip + own + FOURS); }
    let y0 = ring_scaled(of_b(ahead.y0, at_first), scale);
    let y1 = ring_scaled(of_b(ahead.y1, at_first + FOURS), vec4(w.scale0.x, scale.yzw));
    let y2 = ring_scaled(of_b(ahead.y2, at_first + 2 * FOURS), vec4(w.scale0.xy, scale.zw));
    let y3 = ring_scaled(of_b(ahead.y3, at_first + 3 * FOURS), vec4(w.scale0.xyz, scale.w));
    var y4 = ahead.y4;
    if !AHEAD & owns { y4 = b[at_first + 4 * FOURS]; }
    y4 = ring_scaled(y4, w.scale0);
    {
        let x = vec4(x0.x, x1.x, x2.x, x3.x);
        w.c0 = add(w.c0, x, y0);
        if owns {
            w.done.e0 = w.c0.e0;
            w.c0.e0 = ring_first(y1.x, x);
        }
        if SLOTS > 1 { w.c1 = add(w.c1, x, ring_scaled(of_b(ahead.u0, at + NEXT), w.scale1)); }
        if SLOTS > 2 { w.c2 = add(w.c2, x, ring_scaled(of_b(ahead.v0, at + (NEXT + LANES)), w.scale2)); }
        if SLOTS > 3 { w.c3 = add(w.c3, x, ring_scaled(of_b(ahead.w0, at + (NEXT + 2 * LANES)), w.scale3)); }
    }
    {
        let x = vec4(x0.y, x1.y, x2.y, x3.y);
        w.c0 = add(w.c0, x, vec4(select(y1.x, y2.x, owns), y1.yzw));
        if owns {
            w.done.e1 = w.c0.e1;
            w.c0.e1 = ring_first(y2.y, x);
        }
        if SLOTS > 1 { w.c1 = add(w.c1, x, ring_scaled(of_b(ahead.u1, at + FOURS + NEXT), w.scale1)); }
        if SLOTS > 2 { w.c2 = add(w.c2, x, ring_scaled(of_b(ahead.v1, at + FOURS + (NEXT + LANES)), w.scale2)); }
        if SLOTS > 3 { w.c3 = add(w.c3, x, ring_scaled(of_b(ahead.w1, at + FOURS + (NEXT + 2 * LANES)), w.scale3)); }
    }
    {
        let x = vec4(x0.z, x1.z, x2.z, x3.z);
        w.c0 = add(w.c0, x, vec4(select(y2.xy, y3.xy, owns), y2.zw));
        if owns {
            w.done.e2 = w.c0.e2;
            w.c0.e2 = ring_first(y3.z, x);
        }
        if SLOTS > 1 { w.c1 = add(w.c1, x, ring_scaled(of_b(ahead.u2, at + 2 * FOURS + NEXT), w.scale1)); }
        if SLOTS > 2 { w.c2 = add(w.c2, x, ring_scaled(of_b(ahead.v2, at + 2 * FOURS + (NEXT + LANES)), w.scale2)); }
        if SLOTS > 3 { w.c3 = add(w.c3, x, ring_scaled(of_b(ahead.w2, at + 2 * FOURS + (NEXT + 2 * LANES)), w.scale3)); }
    }
    {
        let x = vec4(x0.w, x1.w, x2.w, x3.w);
        w.c0 = add(w.c0, x, vec4(select(y3.xyz, y4.xyz, owns), y3.w));
        if owns {
            w.done.e3 = w.c0.e3;
            w.c0.e3 = ring_first(y4.w, x);
        }
        if SLOTS > 1 { w.c1 = add(w.c1, x, ring_scaled(of_b(ahead.u3, at + 3 * FOURS + NEXT), w.scale1)); }
        if SLOTS > 2 { w.c2 = add(w.c2, x, ring_scaled(of_b(ahead.v3, at + 3 * FOURS + (NEXT + LANES)), w.scale2)); }
        if SLOTS > 3 { w.c3 = add(w.c3, x, ring_scaled(of_b(ahead.w3, at + 3 * FOURS + (NEXT + 2 * LANES)), w.scale3)); }
    }
    // Each four of the workgroup's rows of B is met by one strip at one of these steps.
    if ON_THE_WAY & edge {
        var sums = ((y0 + y1) + (y2 + y3)) + select(vec4(0.0), y4, vec4(owns));
        if SLOTS > 1 {
            sums += (of_b(ahead.u0, at + NEXT) + of_b(ahead.u1, at + FOURS + NEXT))
                + (of_b(ahead.u2, at + 2 * FOURS + NEXT) + of_b(ahead.u3, at + 3 * FOURS + NEXT));
        }
        if SLOTS > 2 {
            sums += (of_b(ahead.v0, at + (NEXT + LANES)) + of_b(ahead.v1, at + FOURS + (NEXT + LANES)))
                + (of_b(ahead.v2, at + 2 * FOURS + (NEXT + LANES)) + of_b(ahead.v3, at + 3 * FOURS + (NEXT + LANES)));
        }
        suspect(sums);
    }
    return w;
}

// What a step takes: a four of each of 4 rows of A, and of the same p's 4 rows of B those of an invocation's slots and, y4, what
// the owner has of the row after.
struct Step {
    x0: vec4<f32>, x1: vec4<f32>, x2: vec4<f32>, x3: vec4<f32>,
    y0: vec4<f32>, y1: vec4<f32>, y2: vec4<f32>, y3: vec4<f32>, y4: vec4<f32>,
    u0: vec4<f32>, u1: vec4<f32>, u2: vec4<f32>, u3: vec4<f32>,
    v0: vec4<f32>, v1: vec4<f32>, v2: vec4<f32>, v3: vec4<f32>,
    w0: vec4<f32>, w1: vec4<f32>, w2: vec4<f32>, w3: vec4<f32>,
}

// An index; where rows are long, with no bits but those that one may have.
fn in_fours(at: i32) -> i32 {
    if !LONG { return at; }
    return at & IN_FOURS;
}

// What was read ahead, or what is read where it is used: for narrow bands drivers make more of that than of read_step.
fn of_a(ahead: vec4<f32>, at: i32) -> vec4<f32> {
    if AHEAD { return ahead; }
    return a[at];
}

fn of_b(ahead: vec4<f32>, at: i32) -> vec4<f32> {
    if AHEAD { return ahead; }
    return b[at];
}

fn read_next(step: i32, turn: i32, lane: i32, end: i32, a_first: i32, a_fours: i32, b_first: i32) -> Step {
    let next = min(step + 1, end - 1);
    return read_step(next, select(turn, turn + LANES, next == turn + LANES) + lane, a_first, a_fours, b_first);
}

fn read_step(step: i32, own: i32, a_first: i32, a_fours: i32, b_first: i32) -> Step {
    var s: Step;
    let at_a = in_fours(a_first + step);
    s.x0 = a[at_a];
    s.x1 = a[at_a + a_fours];
    s.x2 = a[at_a + 2 * a_fours];
    s.x3 = a[at_a + 3 * a_fours];
    let at = in_fours(b_first + own + BEFORE + step * (B_WIDTH - 1));
    let at_first = in_fours(at + select(-BEFORE, FOURS - BEFORE, step > own));
    s.y0 = b[at_first];
    s.y1 = b[at_first + FOURS];
    s.y2 = b[at_first + 2 * FOURS];
    s.y3 = b[at_first + 3 * FOURS];
    s.y4 = vec4(ring_pad());
    if step == own { s.y4 = b[at_first + 4 * FOURS]; }
    if SLOTS > 1 {
        s.u0 = b[at + NEXT];
        s.u1 = b[at + FOURS + NEXT];
        s.u2 = b[at + 2 * FOURS + NEXT];
        s.u3 = b[at + 3 * FOURS + NEXT];
    }
    if SLOTS > 2 {
        s.v0 = b[at + (NEXT + LANES)];
        s.v1 = b[at + FOURS + (NEXT + LANES)];
        s.v2 = b[at + 2 * FOURS + (NEXT + LANES)];
        s.v3 = b[at + 3 * FOURS + (NEXT + LANES)];
    }
    if SLOTS > 3 {
        s.w0 = b[at + (NEXT + 2 * LANES)];
        s.w1 = b[at + FOURS + (NEXT + 2 * LANES)];
        s.w2 = b[at + 2 * FOURS + (NEXT + 2 * LANES)];
        s.w3 = b[at + 3 * FOURS + (NEXT + 2 * LANES)];
    }
    return s;
}
