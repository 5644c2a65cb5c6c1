//! Which keys a query of windowed attention attends to.

use crate::{Band, Error, Result};

/// What [`window_attention`](crate::window_attention) attends to, and how.
///
/// Query i stands at the position p = i + offset of the keys. It attends to key j if j is no padding
/// (j < length), and
///
/// - j is in its window: j = p + s · dilation with a whole number s from −lower to upper, or
/// - p is a global position, or
/// - j is one.
///
/// ```text
/// band 1, 1          band 2, 0 (causal)   band 1, 1, dilation 2   band 1, 1, global 0
///
///   x x . . . .        x . . . . .          x . x . . .             x x x x x x
///   x x x . . .        x x . . . .          . x . x . .             x x x . . .
///   . x x x . .        x x x . . .          x . x . x .             x x x x . .
///   . . x x x .        . x x x . .          . x . x . x             x . x x x .
///   . . . x x x        . . x x x .          . . x . x .             x . . x x x
///   . . . . x x        . . . x x x          . . . x . x             x . . . x x
/// ```
///
/// ```
/// use bandsaw::{Band, WindowAttention};
/// // 8 heads in groups of 4 to a head of keys and values, causal, the last 256 tokens.
/// let options = WindowAttention::new(Band::new(256, 0)?).heads(8, 2);
/// assert!(options.attends(0, 300, 44) && !options.attends(0, 300, 43) && !options.attends(0, 300, 301));
/// let longformer = WindowAttention::new(Band::window(64)?).dilation(2).global([0]).lengths([500, 380]);
/// assert!(longformer.attends(0, 300, 0) && longformer.attends(0, 0, 300) && longformer.attends(0, 300, 302));
/// assert!(!longformer.attends(0, 300, 301) && !longformer.attends(1, 300, 380)); // between; padding
/// # Ok::<(), bandsaw::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct WindowAttention {
    /// Steps of the window before the query's position, and after it.
    pub band: Band,
    /// What scores are multiplied with; `None` is 1/√d.
    pub scale: Option<f32>,
    /// Where queries stand among the keys: query i at key i + offset.
    pub offset: i64,
    /// Query heads of each batch entry.
    pub heads: usize,
    /// Key and value heads of each batch entry; each serves heads / kv_heads query heads.
    pub kv_heads: usize,
    /// For each batch entry how many keys are no padding; `None` is all.
    pub lengths: Option<Vec<usize>>,
    /// Positions of keys that attend everywhere and are attended by all, in any order.
    pub global: Vec<usize>,
    /// Keys to a step of the window.
    pub dilation: usize,
}

impl WindowAttention {
    /// Each query attends to the keys of its row of the band: [`Band::window`] for w on each side,
    /// `Band::new(w, 0)` for a causal window. One head, scale 1/√d, nothing else.
    pub fn new(band: Band) -> Self {
        Self { band, scale: None, offset: 0, heads: 1, kv_heads: 1, lengths: None, global: Vec::new(), dilation: 1 }
    }

    /// With this factor on the scores instead of 1/√d.
    #[must_use]
    pub fn scale(self, scale: f32) -> Self {
        Self { scale: Some(scale), ..self }
    }

    /// With query i at the position of key i + offset: keys − queries where the queries are the last
    /// ones of a longer sequence.
    #[must_use]
    pub fn offset(self, offset: i64) -> Self {
        Self { offset, ..self }
    }

    /// With matrices in order of batch entry, then head, and as many heads of keys and values, which
    /// must divide the heads. Heads matter where keys are shared or have lengths.
    #[must_use]
    pub fn heads(self, heads: usize, kv_heads: usize) -> Self {
        Self { heads, kv_heads, ..self }
    }

    /// With this many keys of each batch entry, the rest being padding that nobody attends to.
    #[must_use]
    pub fn lengths(self, lengths: impl Into<Vec<usize>>) -> Self {
        Self { lengths: Some(lengths.into()), ..self }
    }

    /// With these positions attending everywhere and attended by all (Longformer's global tokens).
    /// Meant for a few: each is one more key for every query.
    #[must_use]
    pub fn global(self, positions: impl Into<Vec<usize>>) -> Self {
        Self { global: positions.into(), ..self }
    }

    /// With this many keys to a step of the window, so that it reaches further with gaps.
    #[must_use]
    pub fn dilation(self, dilation: usize) -> Self {
        Self { dilation, ..self }
    }

    /// Whether query i attends to key j in a batch entry: the definition. A batch entry without a
    /// length has no padding.
    pub fn attends(&self, batch: usize, i: usize, j: usize) -> bool {
        let length = self.lengths.as_ref().and_then(|lengths| lengths.get(batch));
        let (p, j) = ((i as i64).saturating_add(self.offset), j as i64);
        let global = |position: i64| usize::try_from(position).is_ok_and(|position| self.global.contains(&position));
        length.is_none_or(|length| j < *length as i64)
            && (in_window(j.saturating_sub(p), self.band.lower(), self.band.upper(), self.dilation as i64) || global(p) || global(j))
    }

    /// Checks everything that can be checked without q and v: heads, lengths, positions.
    pub(crate) fn check(&self, op: &'static str, [q_batch, kv_batch, keys]: [usize; 3]) -> Result<()> {
        let Self { heads, kv_heads, .. } = *self;
        if heads == 0 || kv_heads == 0 || !heads.is_multiple_of(kv_heads) {
            let got = format!("heads {heads}, kv_heads {kv_heads}");
            return Err(Error::argument(op, "options", got, "heads a multiple of kv_heads, both at least 1"));
        }
        if !q_batch.is_multiple_of(heads) {
            return Err(Error::argument(op, "q", format!("batch {q_batch}"), format!("a multiple of its {heads} heads as batch")));
        }
        let entries = q_batch / heads;
        if kv_batch != entries * kv_heads {
            let allowed = format!("batch {} ({entries} batch entries × {kv_heads} kv_heads)", entries * kv_heads);
            return Err(Error::argument(op, "k", format!("batch {kv_batch}"), allowed));
        }
        if let Some(lengths) = &self.lengths {
            if lengths.len() != entries {
                let allowed = format!("{entries} lengths (one for each batch entry)");
                return Err(Error::argument(op, "options", format!("{} lengths", lengths.len()), allowed));
            }
            if let Some((entry, length)) = lengths.iter().enumerate().find(|(_, length)| **length > keys) {
                let got = format!("length {length} for batch entry {entry}");
                return Err(Error::argument(op, "options", got, format!("a length of at most {keys} (the rows of k)")));
            }
        }
        if let Some(position) = self.global.iter().find(|position| **position >= keys) {
            return Err(Error::argument(
                op,
                "options",
                format!("global position {position}"),
                format!("positions below {keys} (the rows of k)"),
            ));
        }
        if self.dilation == 0 || self.dilation > LIMIT as usize {
            return Err(Error::argument(op, "options", format!("dilation {}", self.dilation), "a dilation of 1 to 2^28"));
        }
        if self.offset.unsigned_abs() > LIMIT as u64 {
            return Err(Error::argument(op, "options", format!("offset {}", self.offset), "an offset within ±2^28"));
        }
        match self.scale {
            Some(scale) if !scale.is_finite() => Err(Error::argument(op, "options", format!("scale {scale}"), "a finite scale")),
            _ => Ok(()),
        }
    }
}

/// Offsets and dilations go no further, so that sums of positions stay in `i32`.
const LIMIT: i64 = 1 << 28;

/// Whether a key that is `away` from the query's position is in its window.
pub(crate) fn in_window(away: i64, lower: i64, upper: i64, dilation: i64) -> bool {
    dilation > 0 && away % dilation == 0 && -lower <= away / dilation && away / dilation <= upper
}
