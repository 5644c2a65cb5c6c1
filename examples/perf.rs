use bandsaw::*;
use std::time::Instant;
fn rnd(seed: &mut u64) -> f32 {
    *seed = seed.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
    ((*seed >> 40) as f32) / (1u64 << 24) as f32 * 2.0 - 1.0
}
fn median(mut v: Vec<f64>) -> f64 {
    v.sort_by(f64::total_cmp);
    v[v.len() / 2]
}
fn time(d: &Device, sets: usize, mut f: impl FnMut(usize) -> Result<()>) -> Result<f64> {
    for s in 0..sets {
        f(s)?;
    }
    d.sync()?;
    let reps = 12;
    let mut v = vec![];
    for _ in 0..11 {
        let (_, t) = d.time(|| {
            for r in 0..reps {
                f(r % sets)?;
            }
            Ok(())
        })?;
        v.push(t.as_secs_f64() * 1e3 / reps as f64);
    }
    Ok(median(v))
}
fn check(gpu: &Device) -> Result<()> {
    let cpu = Device::cpu();
    let mut seed = 1;
    for (bt, n, k, m, la, ua, lb, ub) in [
        (2, 20, 20, 20, 1, 2, 2, 0),
        (1, 1, 1, 1, 0, 0, 0, 0),
        (3, 70, 65, 90, 5, 9, -2, 7),
        (2, 1030, 1040, 1020, 16, 16, 16, 16),
        (2, 600, 600, 600, 64, 64, 64, 64), (2, 300, 310, 290, 20, 44, 35, 30), (1, 200, 210, 190, 5, 44, 30, 33),
        (1, 9, 9, 9, 20, 20, 1, 1),
        (1, 700, 700, 700, 256, 256, 256, 256),
    ] {
        for (la_, lb_) in [
            (Layout::Rows, Layout::Rows),
            (Layout::Columns, Layout::Rows),
            (Layout::Rows, Layout::Columns),
            (Layout::Columns, Layout::Columns),
        ] {
            let sa = BandedShape::new(n, k, Band::new(la, ua)?).batch(bt).layout(la_);
            let sb = BandedShape::new(k, m, Band::new(lb, ub)?).batch(bt).layout(lb_);
            let da: Vec<f32> = (0..sa.len()).map(|_| rnd(&mut seed)).collect();
            let db: Vec<f32> = (0..sb.len()).map(|_| rnd(&mut seed)).collect();
            for ring in [Semiring::Sum, Semiring::Max, Semiring::Log, Semiring::ProdMax] {
                let want = banded_matmul(&Banded::from_slice(&cpu, sa, &da)?, &Banded::from_slice(&cpu, sb, &db)?, ring)?.read()?;
                let got = banded_matmul(&Banded::from_slice(gpu, sa, &da)?, &Banded::from_slice(gpu, sb, &db)?, ring)?.read()?;
                let mut worst = 0.0f32;
                let mut bad = 0;
                for (w, g) in want.iter().zip(&got) {
                    if w == g || (w.is_nan() && g.is_nan()) {
                        continue;
                    }
                    let e = (w - g).abs();
                    if !(e < 1e-4) {
                        bad += 1
                    }
                    if e > worst {
                        worst = e
                    }
                }
                if bad > 0 {
                    println!("BAD {n}x{k}x{m} {la},{ua} {lb},{ub} {la_:?} {lb_:?} {ring:?} worst {worst} bad {bad}/{}", want.len());
                }
            }
        }
    }
    println!("checked");
    Ok(())
}
fn main() -> Result<()> {
    let quick = std::env::args().any(|a| a == "quick");
    let gpu = Device::open("wgpu:vulkan", Options::default())?;
    println!("{gpu} {:?}", gpu.info());
    if std::env::args().any(|a| a == "check") {
        check(&Device::open("wgpu:vulkan", Options { poison: true, ..Default::default() })?)?;
    }
    if !quick {
        let w = Dense::from_fn(&gpu, DenseShape::new(2048, 2048).batch(4), |_, i, j| ((i * 31 + j * 17) % 13) as f32)?;
        let t0 = Instant::now();
        while t0.elapsed().as_secs_f64() < 1.0 { for _ in 0..10 { semiring_matmul(&w, &w, Semiring::Sum)?; } gpu.sync()?; }
        let t = time(&gpu, 1, |_| { semiring_matmul(&w, &w, Semiring::Sum)?; Ok(()) })?;
        println!("dense 4x2048: {t:.4} ms {:.1} TFLOP/s", 4.0 * 2.0 * 2048f64.powi(3) / t / 1e9);
        let t = time(&gpu, 1, |_| { semiring_matmul(&w, &w, Semiring::Max)?; Ok(()) })?;
        println!("dense 4x2048 Max: {t:.4} ms");
    }
    let only = std::env::var("ONLY").unwrap_or_default();
    let mut seed = 1;
    for (b, n, w, floor) in [
        (16usize, 4096usize, 16i64, [0.017, 0.0, 0.035]),
        (16, 4096, 64, [0.086, 0.0, 0.43]),
        (4, 65536, 8, [0.034, 0.0, 0.0357]),
        (1, 4096, 256, [0.084, 0.0, 0.42]),
    ] {
        if !only.is_empty() && !only.split(',').any(|o| o == format!("w{w}")) { continue; }
        let (b, n) = if quick { (1, n / 16) } else { (b, n) };
        for lay in [Layout::Rows] {
            let s = BandedShape::new(n, n, Band::new(w, w)?).batch(b).layout(lay);
            let sets: Vec<_> = (0..3)
                .map(|_| {
                    let d: Vec<f32> = (0..s.len()).map(|_| rnd(&mut seed)).collect();
                    let e: Vec<f32> = (0..s.len()).map(|_| rnd(&mut seed)).collect();
                    (Banded::from_slice(&gpu, s, &d).unwrap(), Banded::from_slice(&gpu, s, &e).unwrap())
                })
                .collect();
            let start = Instant::now();
            for (ring, f) in [(Semiring::Sum, floor[0]), (Semiring::Max, floor[0] * 1.5), (Semiring::Log, floor[2])] {
                let t = time(&gpu, 3, |i| {
                    banded_matmul(&sets[i].0, &sets[i].1, ring)?;
                    Ok(())
                })?;
                println!("{b}x{n} w{w} {lay:?} {ring:?}: {t:.4} ms (target {f:.4})");
            }
            let _ = start;
        }
    }
    if only.is_empty() || only.contains("dense") {
    let s = DenseShape::new(512, 512).batch(if quick { 1 } else { 10 });
    let sets: Vec<_> = (0..3)
        .map(|_| {
            let d: Vec<f32> = (0..s.len()).map(|_| rnd(&mut seed)).collect();
            Dense::from_slice(&gpu, s, &d).unwrap()
        })
        .collect();
    for (ring, f) in [(Semiring::Sum, 0.0), (Semiring::Log, 1.12), (Semiring::Max, 0.56), (Semiring::ProdMax, 0.56)] {
        let t = time(&gpu, 3, |i| {
            semiring_matmul(&sets[i], &sets[(i + 1) % 3], ring)?;
            Ok(())
        })?;
        println!("dense 10x512 {ring:?}: {t:.4} ms (target {f})");
    }
    }
    if !quick && (only.is_empty() || only.contains("window")) {
        let s = DenseShape::new(4096, 64).batch(96);
        let sets: Vec<_> = (0..2)
            .map(|_| {
                let d: Vec<f32> = (0..s.len()).map(|_| rnd(&mut seed)).collect();
                Dense::from_slice(&gpu, s, &d).unwrap()
            })
            .collect();
        let t = time(&gpu, 2, |i| {
            window_matmul(&sets[i], &sets[1 - i], Band::window(256)?)?;
            Ok(())
        })?;
        println!("window w256: {t:.4} ms (1.2)");
        let a = window_matmul(&sets[0], &sets[1], Band::window(256)?)?;
        let t = time(&gpu, 2, |i| {
            banded_matmul_dense(&a, &sets[i], Semiring::Sum)?;
            Ok(())
        })?;
        println!("unwindow w256: {t:.4} ms (1.2)");
    }
    if !only.is_empty() && !only.contains("chain") { return Ok(()); }
    // chain
    let s = BandedShape::new(64, 64, Band::new(1, 1)?);
    let x = Banded::identity(&gpu, s)?;
    for k in 0..4 {
        let before = gpu.submissions();
        gpu.sync()?;
        let t0 = Instant::now();
        let mut y = x.clone();
        for _ in 0..20 {
            y = banded_matmul_band(&y, &x, Semiring::Sum, s.band)?;
        }
        let rec = t0.elapsed();
        gpu.sync()?;
        println!("chain {k}: recorded {:?}/op, all {:?}/op, submissions {}", rec / 20, t0.elapsed() / 20, gpu.submissions() - before - 0);
    }
    Ok(())
}
