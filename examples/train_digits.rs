//! Trains a small network with block-sparse layers on handwritten digits, learning which blocks it has,
//! beside its dense twin, which is the same network with every block.
//!
//! `cargo run --release --example train_digits`

use bandsaw::*;

/// One line a digit: 8 × 8 pixels of 0 to g (16), and what it shows.
const DIGITS: &str = include_str!("../assets/digits.txt");
const CLASSES: usize = 10;
const TESTED: usize = 497;
const BLOCK: [usize; 2] = [8, 8];
const BATCH: usize = 100;
const EPOCHS: usize = 40;

/// Images, one a row, and their classes.
struct Digits {
    pixels: Vec<f32>,
    classes: Vec<usize>,
}

/// The digits of these lines.
fn digits(order: &[usize]) -> Digits {
    let lines: Vec<&str> = DIGITS.lines().collect();
    let (mut pixels, mut classes) = (Vec::new(), Vec::new());
    for n in order {
        let (image, class) = lines[*n].split_once(' ').expect("a line of the file");
        pixels.extend(image.chars().map(|pixel| pixel.to_digit(17).expect("a pixel") as f32 / 8.0 - 1.0));
        classes.push(class.parse().expect("a class"));
    }
    Digits { pixels, classes }
}

/// 0 .. n, shuffled by the seed.
fn shuffled(n: usize, seed: u64) -> Vec<usize> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut order: Vec<usize> = (0..n).collect();
    for last in (1..n).rev() {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        order.swap(last, (state >> 33) as usize % (last + 1));
    }
    order
}

/// Adam (Kingma and Ba, 2014), one for each array of parameters.
struct Adam {
    first: Vec<f32>,
    second: Vec<f32>,
    steps: i32,
}

impl Adam {
    fn new(len: usize) -> Self {
        Self { first: vec![0.0; len], second: vec![0.0; len], steps: 0 }
    }

    fn step(&mut self, values: &mut [f32], gradients: &[f32], rate: f32) {
        self.steps += 1;
        let rate = rate * (1.0 - 0.999f32.powi(self.steps)).sqrt() / (1.0 - 0.9f32.powi(self.steps));
        for (n, value) in values.iter_mut().enumerate() {
            self.first[n] += 0.1 * (gradients[n] - self.first[n]);
            self.second[n] += 0.001 * (gradients[n] * gradients[n] - self.second[n]);
            *value -= rate * self.first[n] / (self.second[n].sqrt() + 1e-7);
        }
    }

    /// Forgets what it knows of a slot.
    fn reset(&mut self, slot: usize, size: usize) {
        self.first[slot * size..][..size].fill(0.0);
        self.second[slot * size..][..size].fill(0.0);
    }
}

struct Layer {
    linear: BlockSparseLinear,
    weight: Adam,
    bias: Adam,
}

impl Layer {
    fn new(device: &Device, [outputs, inputs]: [usize; 2], density: f64, activation: Activation, seed: u64) -> Result<Self> {
        let all = BlockPattern::full([outputs, inputs], BLOCK)?.len();
        let pattern = BlockPattern::random([outputs, inputs], BLOCK, (density * all as f64) as usize, seed)?;
        let linear = BlockSparseLinear::new(device, &pattern, activation, seed + 100)?;
        Ok(Self { weight: Adam::new(linear.weight.len()), bias: Adam::new(outputs), linear })
    }

    fn step(&mut self, gradients: &LinearGradients, rate: f32) -> Result<()> {
        let (weight, device) = (&self.linear.weight, self.linear.weight.device());
        let mut values = weight.read()?;
        self.weight.step(&mut values, &gradients.w.read()?, rate);
        let bias = match (&self.linear.bias, &gradients.bias) {
            (Some(bias), Some(gradient)) => {
                let mut values = bias.read()?;
                self.bias.step(&mut values, &gradient.read()?, rate);
                Some(Dense::from_slice(device, bias.shape(), &values)?)
            }
            _ => None,
        };
        self.linear.weight = BlockSparse::from_slice(device, weight.pattern(), &values)?;
        self.linear.bias = bias;
        Ok(())
    }

    /// Some blocks go, others come.
    fn learn_pattern(&mut self, fraction: f64, seed: u64) -> Result<()> {
        let change = PatternUpdate { fraction, seed, ..PatternUpdate::default() }.apply(&self.linear.weight, None)?;
        let [r, c] = change.weight.pattern().block();
        change.slots.iter().for_each(|slot| self.weight.reset(*slot, r * c));
        self.linear.weight = change.weight;
        Ok(())
    }
}

fn forward(layers: &[Layer], x: Dense) -> Result<Vec<Dense>> {
    let mut all = vec![x];
    for layer in layers {
        all.push(layer.linear.forward(&all[all.len() - 1])?);
    }
    Ok(all)
}

/// The gradient of the mean cross entropy by the scores: softmax minus the right class.
fn loss_gradient(scores: &[f32], classes: &[usize]) -> Vec<f32> {
    let mut gradient = Vec::with_capacity(scores.len());
    for (row, class) in scores.chunks_exact(CLASSES).zip(classes) {
        let top = row.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        let sum: f32 = row.iter().map(|score| (score - top).exp()).sum();
        let of = |n: usize| (row[n] - top).exp() / sum - f32::from(u8::from(n == *class));
        gradient.extend((0..CLASSES).map(|n| of(n) / classes.len() as f32));
    }
    gradient
}

fn accuracy(layers: &[Layer], x: &Dense, classes: &[usize]) -> Result<f64> {
    let scores = forward(layers, x.clone())?.pop().expect("a result").read()?;
    let best = |row: &[f32]| (0..CLASSES).max_by(|m, n| row[*m].total_cmp(&row[*n]));
    let right = scores.chunks_exact(CLASSES).zip(classes).filter(|(row, class)| best(row) == Some(**class)).count();
    Ok(right as f64 / classes.len() as f64)
}

/// Trains 64 → 128 → 128 → 10, the last layer dense, and returns stored weights and test accuracy.
fn train(device: &Device, density: f64) -> Result<(usize, f64)> {
    let order = shuffled(DIGITS.lines().count(), 1);
    let (tested, trained) = (digits(&order[..TESTED]), digits(&order[TESTED..]));
    let mut layers = vec![
        Layer::new(device, [128, 64], density, Activation::Relu, 1)?,
        Layer::new(device, [128, 128], density, Activation::Relu, 2)?,
        Layer::new(device, [CLASSES, 128], 1.0, Activation::None, 3)?,
    ];
    for epoch in 0..EPOCHS {
        let progress = epoch as f32 / EPOCHS as f32;
        let rate = 0.003 * (1.0 + (progress * std::f32::consts::PI).cos()) / 2.0;
        for batch in shuffled(trained.classes.len(), 10 + epoch as u64).chunks_exact(BATCH) {
            let pixels: Vec<f32> = batch.iter().flat_map(|n| &trained.pixels[64 * n..][..64]).copied().collect();
            let classes: Vec<usize> = batch.iter().map(|n| trained.classes[*n]).collect();
            let all = forward(&layers, Dense::from_slice(device, DenseShape::new(BATCH, 64), &pixels)?)?;
            let scores = &all[layers.len()];
            let mut g = Dense::from_slice(device, scores.shape(), &loss_gradient(&scores.read()?, &classes))?;
            for (n, layer) in layers.iter_mut().enumerate().rev() {
                let gradients = layer.linear.backward(&all[n], &all[n + 1], &g)?;
                layer.step(&gradients, rate)?;
                g = gradients.x;
            }
        }
        // Fewer and fewer blocks move, none in the last third.
        if density < 1.0 && progress < 0.66 {
            for (n, layer) in layers[..2].iter_mut().enumerate() {
                layer.learn_pattern(0.2 * f64::from(1.0 - progress / 0.66), (2 * epoch + n) as u64)?;
            }
        }
    }
    let x = Dense::from_slice(device, DenseShape::new(TESTED, 64), &tested.pixels)?;
    Ok((layers.iter().map(|layer| layer.linear.weight.len()).sum(), accuracy(&layers, &x, &tested.classes)?))
}

fn main() -> Result<()> {
    let device = Device::best();
    println!("{device}: {} digits to learn, {TESTED} others to test", DIGITS.lines().count() - TESTED);
    println!("density  weights  accuracy  against its dense twin");
    let mut dense = 0.0;
    for density in [1.0, 0.5, 0.25] {
        let (weights, accuracy) = train(&device, density)?;
        if density == 1.0 {
            dense = accuracy;
        }
        println!("{density:<7}  {weights:>7}  {:>7.2}%  {:+.2} points", 100.0 * accuracy, 100.0 * (accuracy - dense));
    }
    Ok(())
}
