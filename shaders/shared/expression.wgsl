// What expressions call. WGSL leaves to the driver what its own functions make of NaN, of infinity
// and of what lies outside their domain; these do as IEEE 754 does.

// Shader compilers may take x - x and x * 0 for 0 and (x + y) - y for x, whatever x is. Each step
// of an expression goes through this, which changes nothing, but they don't know.
fn expr_keep(x: f32) -> f32 { return bitcast<f32>(bitcast<u32>(x) ^ hidden_zero()); }

fn expr_nan() -> f32 { return from_bits(0x7fc00000u); }
fn expr_infinity() -> f32 { return from_bits(0x7f800000u); }

// Compilers may make a plain select of these into a min or max of their own.
fn expr_min(x: f32, y: f32) -> f32 { return select(x, y, y < x && !is_nan(x) && !is_nan(y)); }
fn expr_max(x: f32, y: f32) -> f32 { return select(x, y, y > x && !is_nan(x) && !is_nan(y)); }
fn expr_ge(x: f32, y: f32) -> bool { return x >= y && !is_nan(x) && !is_nan(y); }

// By bits, since compilers may also take it that nothing is infinite.
fn expr_is_finite(x: f32) -> bool { return (bitcast<u32>(x) & 0x7f800000u) != 0x7f800000u; }

// A driver may divide by multiplying with the reciprocal, which beyond 2^126 is flushed to 0.
fn expr_div(x: f32, y: f32) -> f32 {
    let scale = select(1.0, 0.0625, abs(y) > 8.507059e37);
    return (x * scale) / (y * scale);
}

fn expr_exp(x: f32) -> f32 {
    let value = select(exp(x), expr_infinity(), x > 89.0);
    return select(select(value, 0.0, x < -104.0), x, is_nan(x));
}

fn expr_ln(x: f32) -> f32 {
    let value = select(log(x), minus_infinity(), x == 0.0);
    return select(select(value, x, !expr_is_finite(x)), expr_nan(), x < 0.0);
}

fn expr_sqrt(x: f32) -> f32 {
    let value = select(sqrt(x), x, x == 0.0 || !expr_is_finite(x));
    return select(value, expr_nan(), x < 0.0);
}

// A driver's tanh may overflow to NaN far from 0 and is no better than 2^-24 near it.
fn expr_tanh(x: f32) -> f32 {
    let t = exp(-2.0 * min(abs(x), 20.0));
    let far = select(1.0, -1.0, x < 0.0) * ((1.0 - t) / (1.0 + t));
    let y = x * x;
    let near = x + x * y * (-0.33333334 + y * (0.13333334 + y * (-0.053968254 + y * 0.021869488)));
    return select(select(far, near, abs(x) < 0.25), x, is_nan(x));
}

fn expr_sin(x: f32) -> f32 {
    return select(expr_nan(), sin(x), expr_is_finite(x));
}

fn expr_cos(x: f32) -> f32 {
    return select(expr_nan(), cos(x), expr_is_finite(x));
}
