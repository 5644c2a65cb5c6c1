//! Expressions by themselves: text, evaluation, derivatives, shader text.

use super::{Expr, a, b, c};

fn parse(text: &str) -> Expr {
    text.parse().unwrap_or_else(|error| panic!("{error}"))
}

fn message(text: &str) -> String {
    text.parse::<Expr>().expect_err(text).to_string()
}

#[test]
fn text_means_what_it_says() {
    for (text, want) in [
        ("1 + 2 * 3", 7.0),
        ("(1 + 2) * 3", 9.0),
        ("8 / 4 / 2", 1.0),
        ("8 - 4 - 2", 2.0),
        ("-a * b", -6.0),
        ("- -a", 2.0),
        ("2e1 + .5", 20.5),
        ("1.5e-1", 0.15),
        ("max(a, b) - min(a, b)", 1.0),
        ("clamp(10, -1, 1)", 1.0),
        ("select_ge(a, b, 1, 0)", 0.0),
        ("select_ge(b, a, 1, 0)", 1.0),
        ("sqrt(a + a)", 2.0),
        ("abs(-3)", 3.0),
        ("1 / 0", f64::INFINITY),
        ("-inf", f64::NEG_INFINITY),
        ("ln(0)", f64::NEG_INFINITY),
    ] {
        let got = parse(text).eval([2.0, 3.0, 0.0]);
        assert!((got - want).abs() < 1e-7 || got == want, "{text}: {got}, not {want}");
    }
    assert!(parse("0 / 0").eval([0.0; 3]).is_nan());
    assert!(parse("nan").eval([0.0; 3]).is_nan());
}

#[test]
fn errors_name_the_column() {
    for (text, want) in [
        ("", "column 1: unexpected end"),
        ("a +", "column 4: unexpected end"),
        ("a b", "column 3: unexpected 'b'"),
        ("(a", "column 3: expected ')'"),
        ("a)", "column 2: unexpected ')'"),
        ("1e", "column 1: not a number"),
        ("1.2.3", "column 1: not a number"),
        ("2 * 1e99", "column 5: too large a number for f32"),
        ("é", "column 1: unexpected 'é'"),
        ("a + ü", "column 5: unexpected 'ü'"),
        ("min(a)", "column 6: expected ','"),
        ("exp(a, b)", "column 6: expected ')'"),
        ("exp a", "column 5: expected '('"),
    ] {
        let message = message(text);
        assert!(message.ends_with(want), "{text}: {message}");
    }
    let unknown = message("a * c");
    assert!(unknown.contains("column 5: unknown name \"c\"; known: a, b, inf, nan, exp,"), "{unknown}");
}

#[test]
fn no_text_exhausts_the_stack() {
    assert!(message(&"(".repeat(100)).ends_with("column 65: nested too deeply"));
    assert!(message(&"-".repeat(4000)).contains("nested too deeply"));
    assert!(message(&"exp(".repeat(1000)).contains("nested too deeply"));
    assert!(message(&"a".repeat(5000)).ends_with("5000 bytes, at most 4096 are allowed"));
    let long = vec!["a"; 2048].join("+");
    assert_eq!(parse(&long).eval([1.0, 0.0, 0.0]), 2048.0);
}

#[test]
fn what_is_built_can_be_large() {
    let mut chain = a();
    for _ in 0..5000 {
        chain = chain * 0.5 + 1.0;
    }
    assert!((chain.eval([0.0; 3]) - 2.0).abs() < 1e-6);
    assert!(chain.derivative(0).eval([0.0; 3]).abs() < 1e-6);
    assert!(chain.check("banded_map").is_err());
    // A tree of 2^40 leaves in 41 steps.
    let mut square = a();
    for _ in 0..40 {
        square = square.clone() * square;
    }
    assert_eq!(square.eval([1.0, 0.0, 0.0]), 1.0);
    assert_eq!(square.to_string(), "an expression of 41 operations");
    assert!(square.derivative(0).to_wgsl().len() < 10_000);
    assert_eq!(square.derivative(0).eval([1.0, 0.0, 0.0]), 2f64.powi(40));
}

#[test]
fn text_round_trips() {
    let built = [
        (a() + b()) / 2.0,
        -(a() * -0.5),
        -a().exp(),
        a().exp().ln().abs().sqrt().tanh().sin().cos(),
        a().clamp(-1.0, 1e30).min(b()).max(1e-30),
        a().select_ge(b(), f32::INFINITY, f32::NEG_INFINITY),
        Expr::from(f32::NAN) * a(),
        Expr::from(-0.0) + a(),
        1.0 / (2.0 - (3.0 * (4.0 + a()))),
        -Expr::from(3.0),
    ];
    for expr in built {
        let text = expr.to_string();
        assert_eq!(parse(&text), expr, "{text}");
    }
    assert_eq!(format!("{:?}", a() - b()), "Expr((a - b))");
}

#[test]
fn derivatives_match_central_differences() {
    for text in [
        "a + 2 * b",
        "a - b / 3",
        "a * b",
        "a / b",
        "a * a * b * b",
        "exp(a * b)",
        "ln(a + b)",
        "abs(a - b)",
        "abs(b - a)",
        "sqrt(a * b + 1)",
        "tanh(a - b)",
        "sin(a * b)",
        "cos(a + b * b)",
        "min(a, b)",
        "max(a, b)",
        "min(b, a) * max(a, b)",
        "clamp(a * b, 0.5, 2)",
        "select_ge(a, b, a * a, b * b * b)",
        "-(a / (1 + exp(-b)))",
        "3",
        "1 / (a * b)",
        "(a + b) / (a - b)",
    ] {
        let f = parse(text);
        for point in [[0.7, 1.9, 0.0], [2.3, 0.4, 0.0], [1.1, 1.3, 0.0]] {
            for n in 0..2 {
                let h = 1e-5;
                let (mut up, mut down) = (point, point);
                up[n] += h;
                down[n] -= h;
                let want = (f.eval(up) - f.eval(down)) / (2.0 * h);
                let got = f.derivative(n).eval(point);
                assert!((got - want).abs() <= 1e-5 * (1.0 + want.abs()), "{text} by {n} at {point:?}: {got}, not {want}");
            }
        }
    }
}

#[test]
fn derivatives_take_the_side_that_is_taken() {
    let at = |f: Expr, n, x, y| f.derivative(n).eval([x, y, 0.0]);
    for (x, y) in [(1.0, 1.0), (f64::NAN, 1.0), (1.0, f64::NAN)] {
        assert_eq!((at(a().min(b()), 0, x, y), at(a().min(b()), 1, x, y)), (1.0, 0.0));
        assert_eq!((at(a().max(b()), 0, x, y), at(a().max(b()), 1, x, y)), (1.0, 0.0));
    }
    // No 0 · ∞ from what does not depend on the operand.
    assert_eq!(at(a() * b(), 0, f64::INFINITY, 2.0), 2.0);
    assert_eq!(at(a() + 0.0 * b(), 0, 1.0, f64::INFINITY), 1.0);
    assert_eq!((c() * a().derivative(0)).to_string(), "(c * 1)");
    assert_eq!(a().derivative(7), 0.0.into());
}

#[test]
fn the_shader_gets_no_constant_it_would_refuse() {
    let wgsl = (a() + Expr::from(1.0) / 0.0).to_wgsl();
    assert!(wgsl.contains("v0 + expr_keep(from_bits(2139095040u))"), "{wgsl}");
    assert!(!wgsl.contains('/'), "{wgsl}");
    assert!(Expr::from(-0.0).to_wgsl().contains("return expr_keep(from_bits(2147483648u));"));
    assert!(a().to_wgsl().contains("return v0;"));
}
