//! What the demonstration runs.

use bandsaw::io::parse_matrix_market;
use bandsaw::{
    Band, Banded, BandedShape, Dense, DenseShape, Device, Layout, Result, Semiring, a, b, banded_from_dense, banded_map,
    banded_map_backward, banded_matmul, banded_matmul_backward, banded_matmul_band, banded_matmul_dense, banded_matmul_double_backward,
    banded_matmul_index, banded_matvec, banded_matvec_backward, banded_relayout, banded_resize, banded_resize_backward, banded_shift_band,
    banded_shift_cols, banded_shift_cols_backward, banded_shift_rows, banded_to_dense, banded_zip, banded_zip_backward, semiring_matmul,
    window_matmul,
};

use super::oracle::{Oracle, full};
use crate::app::{Family, Matrix};

/// One operation on one input.
pub struct Case {
    /// The picture's name, without number and ending.
    pub file: &'static str,
    pub title: String,
    /// Values of very different size.
    pub wide: bool,
    /// A change of labels, nothing to time.
    pub free: bool,
    pub run: Box<dyn Fn() -> Result<Matrix>>,
    pub want: Box<dyn Fn() -> Oracle>,
}

/// The notebook's matrix: n = 20, data row j constant (j + 1) / 21, lower 1, upper 2, columns layout.
pub fn notebook(device: &Device) -> Result<Banded> {
    let shape = BandedShape::new(20, 20, Band::new(1, 2)?).layout(Layout::Columns);
    Banded::from_fn(device, shape, |_, _, j| (j + 1) as f32 / 21.0)
}

/// The five-point Laplacian on a k × m grid, row by row: 4 on the diagonal, −1 for each neighbour.
pub fn laplacian(device: &Device, k: usize, m: usize) -> Result<Banded> {
    let (n, reach) = (k * m, k as i64);
    Banded::from_fn(device, BandedShape::new(n, n, Band::new(reach, reach)?), |_, i, j| match i.abs_diff(j) {
        0 => 4.0,
        distance if distance == k || (distance == 1 && i / k == j / k) => -1.0,
        _ => 0.0,
    })
}

#[derive(Default)]
pub struct Cases(Vec<Case>);

impl Cases {
    pub fn add(
        &mut self,
        file: &'static str,
        title: &str,
        run: impl Fn() -> Result<Matrix> + 'static,
        want: impl Fn() -> Oracle + 'static,
    ) -> &mut Case {
        self.0.push(Case { file, title: title.into(), wide: false, free: false, run: Box::new(run), want: Box::new(want) });
        let last = self.0.len() - 1;
        &mut self.0[last]
    }

    pub fn banded(
        &mut self,
        file: &'static str,
        title: &str,
        run: impl Fn() -> Result<Banded> + 'static,
        want: impl Fn() -> Oracle + 'static,
    ) -> &mut Case {
        self.add(file, title, move || run().map(Matrix::Banded), want)
    }

    pub fn dense(
        &mut self,
        file: &'static str,
        title: &str,
        run: impl Fn() -> Result<Dense> + 'static,
        want: impl Fn() -> Oracle + 'static,
    ) -> &mut Case {
        self.add(file, title, move || run().map(Matrix::Dense), want)
    }
}

/// The cases of one family, or of all.
pub fn all(device: &Device, family: Option<Family>) -> Result<Vec<Case>> {
    let wanted = |this: Family| family.is_none_or(|family| family == this);
    let mut cases = Cases::default();
    if wanted(Family::Banded) {
        bands(&mut cases, device)?;
    }
    if wanted(Family::Window) {
        super::window::all(&mut cases, device)?;
    }
    if wanted(Family::Blocks) {
        super::blocks::all(&mut cases, device)?;
    }
    Ok(cases.0)
}

fn bands(cases: &mut Cases, device: &Device) -> Result<()> {
    pictures_of_the_notebook(cases, &notebook(device)?)?;
    other_operations(cases, &notebook(device)?)?;
    gradients(cases, &notebook(device)?)?;
    gradients_of_products(cases, &notebook(device)?)?;
    published(cases, device)
}

/// The eleven pictures of genbmm's notebook. Its `multiply(self, other)` is otherᵀ · self.
fn pictures_of_the_notebook(cases: &mut Cases, m: &Banded) -> Result<()> {
    let of = Oracle::of(m)?;
    let copy = || (m.clone(), of.clone());

    let (x, o) = copy();
    let exact = Oracle::new(20, 20, Band::new(1, 2)?, 0.0, |_, j| (f64::from((j + 1) as f32 / 21.0), 0.0));
    cases.banded("matrix", "A, the matrix", move || Ok(x.clone()), move || exact.clone()).free = true;
    let (x, _) = copy();
    cases.banded("transpose", "Aᵀ, transpose", move || Ok(x.t()), move || o.t()).free = true;
    let (x, o) = copy();
    let mean = || (a() + b()) / 2.0;
    cases.banded("mean-self", "zip (a+b)/2 of A and A", move || banded_zip(&x, &x, &mean()), move || o.zip(&o, &mean()));
    let (x, o) = copy();
    cases.banded("mean-transpose", "zip (a+b)/2 of A and Aᵀ", move || banded_zip(&x, &x.t(), &mean()), move || o.zip(&o.t(), &mean()));
    let (x, o) = copy();
    cases.banded(
        "multiply",
        "multiply: Aᵀ · A",
        move || banded_matmul(&x.t(), &x, Semiring::Sum),
        move || o.t().product(&o, Semiring::Sum),
    );
    for (file, title, t) in [("band-shift-up", "band shift by 1", 1), ("band-shift-down", "band shift by −1", -1)] {
        let ((x, o), band) = (copy(), Band::new(1 - t, 2 + t)?);
        // In columns layout a slot up is a row up, and the labels move with it once more.
        cases.banded(file, title, move || banded_shift_band(&x, t), move || o.moved(band, 2 * t, 0));
    }
    for (file, title, t) in [("column-shift-left", "column shift by 1", 1), ("column-shift-right", "column shift by −1", -1)] {
        let ((x, o), band) = (copy(), Band::new(1 + t, 2 - t)?);
        cases.banded(file, title, move || banded_shift_cols(&x, t), move || o.moved(band, 0, t));
    }
    let (x, o) = copy();
    let power = move || {
        let square = banded_matmul(&x, &x, Semiring::Sum)?;
        banded_matmul(&x, &banded_matmul(&x, &square, Semiring::Sum)?, Semiring::Sum)
    };
    let want = move || o.product(&o.product(&o.product(&o, Semiring::Sum), Semiring::Sum), Semiring::Sum);
    cases.banded("multiply-thrice", "multiply(Aᵀ) thrice: A·A·A·A", power, want);
    let ((x, o), band) = (copy(), Band::new(-1, 4)?);
    cases.banded(
        "multiply-shifted",
        "multiply by A band-shifted twice",
        move || banded_matmul(&banded_shift_band(&banded_shift_band(&x, 1)?, 1)?.t(), &x, Semiring::Sum),
        // Twice by 1 drops what leaves the matrix in between; nothing does that comes back.
        move || o.moved(band, 4, 0).t().product(&o, Semiring::Sum),
    );
    Ok(())
}

/// The operations that the notebook doesn't draw, on its matrix.
fn other_operations(cases: &mut Cases, m: &Banded) -> Result<()> {
    let of = Oracle::of(m)?;
    let copy = || (m.clone(), of.clone());
    let device = m.device().clone();

    for (file, title, ring) in [
        ("matmul-log", "A · A over log", Semiring::Log),
        ("matmul-max", "A · A over max", Semiring::Max),
        ("matmul-prodmax", "A · A over prodmax", Semiring::ProdMax),
        ("matmul-sample", "A · A over sample", Semiring::Sample { seed: 7 }),
    ] {
        let (x, o) = copy();
        cases.banded(file, title, move || banded_matmul(&x, &x, ring), move || o.product(&o, ring));
    }
    let ((x, o), band) = (copy(), Band::new(1, 1)?);
    cases.banded(
        "matmul-band",
        "A · A onto lower 1, upper 1",
        move || banded_matmul_band(&x, &x, Semiring::Sum, band),
        move || o.product_onto(&o, Semiring::Sum, band),
    );
    let (x, o) = copy();
    cases.banded(
        "matmul-index",
        "the p that makes A · A over max",
        move || banded_matmul_index(&x, &x, Semiring::Max),
        move || o.max_index(&o),
    );
    let (x, o) = copy();
    let decay = || (-(a() * 3.0)).exp() - 0.5;
    cases.banded("map", "map exp(−3a) − 0.5", move || banded_map(&x, &decay()), move || o.zip(&o, &decay()));
    let ((x, o), band) = (copy(), Band::new(3, 1)?);
    cases.banded("resize", "resize to lower 3, upper 1", move || banded_resize(&x, band), move || o.moved(band, 0, 0));
    let ((x, o), band) = (copy(), Band::new(-1, 4)?);
    cases.banded("row-shift", "row shift by 2", move || banded_shift_rows(&x, 2), move || o.moved(band, 2, 0));
    let (x, o) = copy();
    cases.banded("relayout", "relayout to rows", move || banded_relayout(&x, Layout::Rows), move || o.clone());

    let (x, o) = copy();
    let want = o.dense()?;
    cases.dense("to-dense", "to dense", move || banded_to_dense(&x), move || want.clone());
    let wave = Dense::from_fn(&device, DenseShape::new(20, 20), |_, i, j| ((i * 3 + j * 5) as f32 / 9.0).sin())?;
    let (of_wave, band) = (Oracle::of_dense(&wave)?, Band::new(4, 2)?);
    let (w, o) = (wave.clone(), of_wave.clone());
    cases.banded(
        "from-dense",
        "from dense, lower 4, upper 2",
        move || banded_from_dense(&w, band, Layout::Columns, 0.0),
        move || o.moved(band, 0, 0),
    );
    let column = Dense::from_fn(&device, DenseShape::new(20, 1), |_, i, _| (i as f32 / 3.0).cos())?;
    let ((x, o), v, band) = (copy(), Oracle::of_dense(&column)?, full(20, 1)?);
    cases.dense("matvec", "A · x", move || banded_matvec(&x, &column), move || o.product_onto(&v, Semiring::Sum, band));
    let ((x, o), w, v, band) = (copy(), wave.clone(), of_wave.clone(), full(20, 20)?);
    cases.dense(
        "matmul-dense",
        "A · V, V dense",
        move || banded_matmul_dense(&x, &w, Semiring::Sum),
        move || o.product_onto(&v, Semiring::Sum, band),
    );
    let (w, v, band) = (wave.clone(), of_wave.clone(), Band::window(3)?);
    cases.banded(
        "window-matmul",
        "Q · Kᵀ in a window of 3",
        move || window_matmul(&w, &w, band),
        move || v.product_onto(&v.t(), Semiring::Sum, band),
    );
    let full = full(20, 20)?;
    for (file, title, ring) in
        [("semiring-matmul-log", "dense V · V over log", Semiring::Log), ("semiring-matmul-max", "dense V · V over max", Semiring::Max)]
    {
        let (w, v) = (wave.clone(), of_wave.clone());
        cases.dense(file, title, move || semiring_matmul(&w, &w, ring), move || v.product_onto(&v, ring, full));
    }
    Ok(())
}

/// Gradients, the upstream one a wave on the result's band.
fn gradients(cases: &mut Cases, m: &Banded) -> Result<()> {
    let device = m.device().clone();
    let of = Oracle::of(m)?;
    let wave = |band| Banded::from_fn(&device, BandedShape::new(20, 20, band), |_, i, j| ((i * 3 + j * 5) as f32 / 9.0).sin());
    let own = m.shape().band;

    let (x, o, g) = (m.clone(), of.clone(), wave(own.union(own.t()))?);
    let (of_g, f) = (Oracle::of(&g)?.moved(own, 0, 0), || a() * b());
    cases.banded(
        "zip-backward",
        "gradient of zip a·b of A and Aᵀ by A",
        move || Ok(banded_zip_backward(&x, &x.t(), &f(), &g)?.0),
        move || of_g.zip(&o.t().moved(own, 0, 0), &f()),
    );
    let (x, o, g) = (m.clone(), of.clone(), wave(own)?);
    let (of_g, f) = (Oracle::of(&g)?, || a().exp());
    cases.banded(
        "map-backward",
        "gradient of map exp(a)",
        move || banded_map_backward(&x, &f(), &g),
        move || of_g.zip(&o, &(a() * b().exp())),
    );
    let (x, g) = (m.clone(), wave(Band::new(3, 1)?)?);
    let o = Oracle::of(&g)?;
    cases.banded("resize-backward", "gradient of the resize", move || banded_resize_backward(&x, &g), move || o.moved(own, 0, 0));
    let (x, g) = (m.clone(), wave(Band::new(2, 1)?)?);
    let o = Oracle::of(&g)?;
    cases.banded(
        "column-shift-backward",
        "gradient of the column shift by 1",
        move || banded_shift_cols_backward(&x, 1, &g),
        move || o.moved(own, 0, -1),
    );
    let column = |step: f32| Dense::from_fn(&device, DenseShape::new(20, 1), |_, i, _| (i as f32 / step).cos());
    let (x, v, g) = (m.clone(), column(3.0)?, column(5.0)?);
    let (of_v, of_g) = (Oracle::of_dense(&v)?, Oracle::of_dense(&g)?);
    cases.banded(
        "matvec-backward",
        "gradient of A · x by A",
        move || Ok(banded_matvec_backward(&x, &v, &g)?.0),
        move || of_g.product_onto(&of_v.t(), Semiring::Sum, own),
    );
    Ok(())
}

/// Gradients of A · A by the left A, and the second derivative over log.
fn gradients_of_products(cases: &mut Cases, m: &Banded) -> Result<()> {
    let of = Oracle::of(m)?;
    let own = m.shape().band;
    let wave =
        |band, step: f32| Banded::from_fn(m.device(), BandedShape::new(20, 20, band), |_, i, j| ((i * 3 + j * 5) as f32 / step).sin());
    let g = wave(own * own, 9.0)?;
    let of_g = Oracle::of(&g)?;
    for (file, title, ring) in [
        ("matmul-backward", "gradient of A · A by the left A", Semiring::Sum),
        ("matmul-backward-log", "gradient of A · A over log", Semiring::Log),
        ("matmul-backward-max", "gradient of A · A over max", Semiring::Max),
    ] {
        let (x, o, g, of_g) = (m.clone(), of.clone(), g.clone(), of_g.clone());
        let c = banded_matmul(&x, &x, ring)?;
        cases.banded(
            file,
            title,
            move || Ok(banded_matmul_backward(&x, &x, &c, &g, ring)?.0),
            move || match ring {
                Semiring::Log => Oracle::log_gradient(&o, &o, &of_g, None),
                Semiring::Max => Oracle::max_gradient(&o, &o, &of_g),
                _ => of_g.product_onto(&o.t(), ring, own),
            },
        );
    }
    let (x, o, va, vb) = (m.clone(), of, wave(own, 7.0)?, wave(own, 5.0)?);
    let (of_va, of_vb, c) = (Oracle::of(&va)?, Oracle::of(&vb)?, banded_matmul(&x, &x, Semiring::Log)?);
    cases.banded(
        "matmul-double-backward",
        "second derivative of A · A over log",
        move || Ok(banded_matmul_double_backward(&x, &x, &c, &g, &va, &vb)?.0),
        move || Oracle::log_gradient(&o, &o, &of_g, Some((&of_va, &of_vb))),
    );
    Ok(())
}

/// Two matrices of the Harwell–Boeing collection, and a large one by formula.
fn published(cases: &mut Cases, device: &Device) -> Result<()> {
    let read = |name: &str, text: &str| parse_matrix_market(name, text.as_bytes())?.to_banded(device, Layout::Rows);
    let lund = read("lund_a.mtx", include_str!("../../../assets/lund_a.mtx"))?;
    let pores = read("pores_1.mtx", include_str!("../../../assets/pores_1.mtx"))?;

    let (x, o) = (lund.clone(), Oracle::of(&lund)?);
    cases.banded("lund", "Lund A, Harwell–Boeing", move || Ok(x.clone()), move || o.clone()).wide = true;
    let (x, o) = (lund.clone(), Oracle::of(&lund)?);
    cases
        .banded("lund-squared", "Lund A, squared", move || banded_matmul(&x, &x, Semiring::Sum), move || o.product(&o, Semiring::Sum))
        .wide = true;
    let (x, o) = (pores.clone(), Oracle::of(&pores)?);
    cases.banded("pores", "Pores 1, Harwell–Boeing", move || Ok(x.clone()), move || o.clone()).wide = true;
    let o = Oracle::of(&pores)?;
    cases
        .banded(
            "pores-gram",
            "Pores 1 · its transpose",
            move || banded_matmul(&pores, &pores.t(), Semiring::Sum),
            move || o.product(&o.t(), Semiring::Sum),
        )
        .wide = true;
    let grid = laplacian(device, 24, 128)?;
    let o = Oracle::of(&grid)?;
    cases.banded(
        "laplacian-squared",
        "Laplacian of a 24 × 128 grid, squared",
        move || banded_matmul(&grid, &grid, Semiring::Sum),
        move || o.product(&o, Semiring::Sum),
    );
    for case in &mut cases.0 {
        case.free |= matches!(case.file, "lund" | "pores");
    }
    Ok(())
}
