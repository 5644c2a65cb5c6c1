// What a layer does to its sums: 0 nothing, 1 ReLU, 2 GELU (z · Φ(z), exact up to 2e-7 · |z|).

// Φ, the normal distribution function: Abramowitz and Stegun, 7.1.26, |error| < 1e-7.
fn normal(z: f32) -> f32 {
    let x = abs(z) * 0.70710678;
    let t = 1.0 / (1.0 + 0.3275911 * x);
    let tail = t * (0.254829592 + t * (-0.284496736 + t * (1.421413741 + t * (-1.453152027 + t * 1.061405429))));
    let half = 0.5 * tail * exp(-x * x);
    return select(1.0 - half, half, z < 0.0);
}

fn activate(kind: u32, z: f32) -> f32 {
    if kind == 1u { return select(select(0.0, z, z > 0.0), z, is_nan(z)); }
    // Far below 0 GELU is 0, at −∞ too.
    if kind == 2u { return select(z * normal(z), 0.0, z < -20.0); }
    return z;
}

// The derivative at z.
fn slope(kind: u32, z: f32) -> f32 {
    if kind == 1u { return select(0.0, 1.0, (z > 0.0) | is_nan(z)); }
    if kind == 2u {
        if abs(z) > 20.0 { return select(1.0, 0.0, z < 0.0); }
        return normal(z) + z * 0.39894228 * exp(-0.5 * z * z);
    }
    return 1.0;
}
