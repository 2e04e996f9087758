//! Lanes of the training loader: which pool is next, and pieces of its documents into sequences.
//!
//! A lane takes the pool with the least pass, whose pass grows by tokens / weight (curate/loader/schedule.py
//! says why). Documents are cut where a sequence ends. Where the documents of a pool are not at hand the
//! lanes stop and say which they need; they go on when they have them, with the same result as if these had
//! been there. Cost: about 50 ns a piece and pool, and the copying of its tokens. Not here: where documents
//! come from, packing that does not cut, weights.

mod chunk;
mod describe;

pub use chunk::{Chunk, Stored};
pub use describe::{Tensors, describe};

use crate::error::{Error, Result};

/// Numbers of a span: row, start, length, pool, document, offset in the document.
const SPAN: usize = 6;
/// Numbers of a changed place: lane, pool, window, item, offset, tokens, documents, whether it is done.
const CHANGE: usize = 8;

/// Where a lane stands in a pool, and what it served of it.
#[derive(Debug, Clone, Default)]
struct Course {
    window: i64,
    item: i64,
    offset: i64,
    tokens: i64,
    docs: i64,
    is_done: bool,
    is_touched: bool,
    chunk: Option<Chunk>,
}

/// The numbers of a lane that do not belong to a pool.
#[derive(Debug, Clone, Default)]
struct Clock {
    /// Tokens by the weights of the pools that had something left.
    tokens: f64,
    /// How fast it goes: one over these weights.
    rate: f64,
    is_short: bool,
}

/// The shape of a step.
#[derive(Debug, Clone, Copy)]
pub struct Shape {
    /// Lanes.
    pub lanes: usize,
    /// Pools.
    pub pools: usize,
    /// Sequences of a lane.
    pub rows: usize,
    /// Tokens of a sequence.
    pub seq_len: usize,
    /// Token where there is nothing.
    pub pad: i32,
    /// Documents without any token that a lane skips for one piece.
    pub max_empty: u64,
}

/// A pool whose next documents a lane needs before it can go on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Need {
    /// The lane.
    pub lane: usize,
    /// The pool.
    pub pool: usize,
    /// The window and the document in it.
    pub place: (i64, i64),
}

/// What a step changed.
#[derive(Debug, Default)]
pub struct Changes {
    /// Spans of documents, six numbers each.
    pub spans: Vec<i64>,
    /// Places of lanes in pools, eight numbers each.
    pub places: Vec<i64>,
    /// The passes of these.
    pub passes: Vec<f64>,
    /// The clock of each lane.
    pub clocks: Vec<f64>,
    /// Lanes that could not fill their sequences.
    pub num_short: usize,
}

/// Some lanes at work.
#[derive(Debug)]
pub struct Lanes {
    shape: Shape,
    weights: Vec<f64>,
    costs: Vec<f64>,
    /// By lane, then pool.
    passes: Vec<f64>,
    courses: Vec<Course>,
    clocks: Vec<Clock>,
    tokens: Vec<i32>,
    spans: Vec<i64>,
    /// The row of the step that is filled, and tokens in it.
    row: usize,
    at: usize,
    num_empty: u64,
}

impl Lanes {
    /// Lanes that stand at `cursor` (three numbers for each lane and pool) and have served `served` (two).
    ///
    /// # Errors
    /// The tables are of another shape.
    pub fn new(shape: Shape, cursor: &[i64], served: &[i64], done: &[u8]) -> Result<Self> {
        let places = shape.lanes * shape.pools;
        if cursor.len() != places * 3 || served.len() != places * 2 || done.len() != places {
            return Err(Error::Data(format!("tables of lanes are not of {places} places")));
        }
        let courses = (0..places).map(|place| Course {
            window: cursor[place * 3],
            item: cursor[place * 3 + 1],
            offset: cursor[place * 3 + 2],
            tokens: served[place * 2],
            docs: served[place * 2 + 1],
            is_done: done[place] != 0,
            ..Course::default()
        });
        Ok(Self {
            shape,
            weights: vec![0.0; shape.pools],
            costs: vec![f64::INFINITY; shape.pools],
            passes: vec![f64::INFINITY; places],
            courses: courses.collect(),
            clocks: vec![Clock::default(); shape.lanes],
            tokens: vec![shape.pad; shape.lanes * shape.rows * shape.seq_len],
            spans: Vec::new(),
            row: 0,
            at: 0,
            num_empty: 0,
        })
    }

    /// Go on with other weights, and the passes and clocks that follow from them.
    ///
    /// # Errors
    /// The tables are of another shape.
    pub fn reweigh(&mut self, weights: &[f64], passes: &[f64], clocks: &[f64]) -> Result<()> {
        if weights.len() != self.shape.pools
            || passes.len() != self.passes.len()
            || clocks.len() != self.clocks.len()
        {
            return Err(Error::Data("weights, passes or clocks are of other lanes or pools".to_owned()));
        }
        self.weights.copy_from_slice(weights);
        self.costs.clear();
        self.costs.extend(weights.iter().map(|weight| 1.0 / weight));
        self.passes.copy_from_slice(passes);
        for (lane, &tokens) in clocks.iter().enumerate() {
            self.clocks[lane].tokens = tokens;
            self.share_out(lane);
        }
        Ok(())
    }

    /// See how fast a clock goes: pools that have something left share all tokens.
    fn share_out(&mut self, lane: usize) {
        let passes = &self.passes[lane * self.shape.pools..][..self.shape.pools];
        let mut live = 0.0;
        for (weight, pass) in self.weights.iter().zip(passes) {
            if *pass < f64::INFINITY {
                live += weight;
            }
        }
        self.clocks[lane].rate = if live > 0.0 { 1.0 / live } else { 0.0 };
    }

    /// Give a lane documents of a pool; where they begin another window, it stands at the first of them.
    ///
    /// # Errors
    /// There is no such lane or pool.
    pub fn supply(&mut self, lane: usize, pool: usize, chunk: Chunk) -> Result<()> {
        let course = self.course(lane, pool)?;
        if course.window != chunk.window {
            (course.window, course.item) = (chunk.window, chunk.first);
        }
        course.chunk = Some(chunk);
        Ok(())
    }

    /// Say that a pool has nothing left for a lane.
    ///
    /// # Errors
    /// There is no such lane or pool.
    pub fn exhaust(&mut self, lane: usize, pool: usize) -> Result<()> {
        let course = self.course(lane, pool)?;
        (course.is_done, course.chunk) = (true, None);
        self.passes[lane * self.shape.pools + pool] = f64::INFINITY;
        self.share_out(lane);
        Ok(())
    }

    /// Forget the documents that a lane has of a pool.
    ///
    /// # Errors
    /// There is no such lane or pool.
    pub fn forget(&mut self, lane: usize, pool: usize) -> Result<()> {
        self.course(lane, pool)?.chunk = None;
        Ok(())
    }

    fn course(&mut self, lane: usize, pool: usize) -> Result<&mut Course> {
        if lane >= self.shape.lanes || pool >= self.shape.pools {
            return Err(Error::Data(format!("there is no lane {lane} with a pool {pool}")));
        }
        Ok(&mut self.courses[lane * self.shape.pools + pool])
    }

    /// Fill the sequences of the step, from where it stopped; None when they are full.
    ///
    /// # Errors
    /// A document has fewer tokens than were served of it, or there are too many without any.
    pub fn fill(&mut self) -> Result<Option<Need>> {
        while self.row < self.shape.lanes * self.shape.rows {
            while self.at < self.shape.seq_len {
                let lane = self.row / self.shape.rows;
                let Some(pool) = self.due(lane) else {
                    self.clocks[lane].is_short = true;
                    break;
                };
                if let Some(place) = self.piece(lane, pool)? {
                    return Ok(Some(Need { lane, pool, place }));
                }
            }
            self.row += 1;
            (self.at, self.num_empty) = (0, 0);
        }
        Ok(None)
    }

    /// The pool of the least pass, of equal ones the first.
    fn due(&self, lane: usize) -> Option<usize> {
        let (mut least, mut due) = (f64::INFINITY, None);
        for (pool, &pass) in self.passes[lane * self.shape.pools..][..self.shape.pools].iter().enumerate() {
            if pass < least {
                (least, due) = (pass, Some(pool));
            }
        }
        due
    }

    /// Serve the next piece of a pool, or say at which place a document is missing.
    fn piece(&mut self, lane: usize, pool: usize) -> Result<Option<(i64, i64)>> {
        let place = lane * self.shape.pools + pool;
        let course = &mut self.courses[place];
        course.is_touched = true;
        let Some(chunk) = course.chunk.as_ref().filter(|chunk| chunk.has(course.window, course.item)) else {
            return Ok(Some((course.window, course.item)));
        };
        let (document, total) = chunk.document(course.item);
        let room = (self.shape.seq_len - self.at) as i64;
        let num_tokens = room.min(total - course.offset);
        if num_tokens <= 0 && total + course.offset > 0 {
            return Err(Error::Data(format!(
                "document {document} has {total} tokens, {} were served before",
                course.offset
            )));
        }
        let offset = course.offset;
        if num_tokens > 0 {
            let start = self.row * self.shape.seq_len + self.at;
            chunk.copy(course.item, offset, &mut self.tokens[start..start + num_tokens as usize]);
            let span = [self.row as i64, self.at as i64, num_tokens, pool as i64, document, offset];
            self.spans.extend_from_slice(&span);
        }
        course.tokens += num_tokens;
        course.offset += num_tokens;
        if course.offset == total {
            (course.item, course.offset) = (course.item + 1, 0);
            course.docs += 1;
        }
        self.at += num_tokens as usize;
        self.num_empty = if num_tokens > 0 { 0 } else { self.num_empty + 1 };
        if self.num_empty > self.shape.max_empty {
            return Err(Error::Data(format!(
                "{} documents without a token, one after another, the last of pool {pool}; \
                 give the tokenizer a token that ends documents (eos=), or drop empty documents",
                self.num_empty
            )));
        }
        if num_tokens > 0 {
            self.clocks[lane].tokens += num_tokens as f64 * self.clocks[lane].rate;
            self.passes[place] += num_tokens as f64 * self.costs[pool];
        }
        Ok(None)
    }

    /// The tokens of the step, [lanes, rows, seq_len].
    #[must_use]
    pub fn tokens(&self) -> &[i32] {
        &self.tokens
    }

    /// End the step that is full, and begin the next one.
    pub fn finish(&mut self) -> Changes {
        let mut changes = Changes { spans: std::mem::take(&mut self.spans), ..Changes::default() };
        self.spans.reserve(changes.spans.len() + SPAN);
        for (place, course) in self.courses.iter_mut().enumerate() {
            if course.is_touched {
                course.is_touched = false;
                let (lane, pool) = (place / self.shape.pools, place % self.shape.pools);
                let change: [i64; CHANGE] = [
                    lane as i64,
                    pool as i64,
                    course.window,
                    course.item,
                    course.offset,
                    course.tokens,
                    course.docs,
                    i64::from(course.is_done),
                ];
                changes.places.extend_from_slice(&change);
                changes.passes.push(self.passes[place]);
            }
        }
        for clock in &mut self.clocks {
            changes.clocks.push(clock.tokens);
            changes.num_short += usize::from(std::mem::take(&mut clock.is_short));
        }
        if changes.num_short > 0 {
            self.tokens.fill(self.shape.pad);
        }
        (self.row, self.at, self.num_empty) = (0, 0, 0);
        changes
    }
}

#[cfg(test)]
mod tests {
    use arrow_array::{UInt16Array, UInt32Array};

    use super::*;

    fn chunk(window: i64, sizes: &[i64], first: u32) -> Chunk {
        let total: i64 = sizes.iter().sum();
        let ids = UInt32Array::from_iter_values((0..total as u32).map(|token| token + first));
        let begins = sizes.iter().scan(0, |sum, size| Some(std::mem::replace(sum, *sum + size))).collect();
        let docs = (0..sizes.len() as i64).collect();
        Chunk::new(window, 0, vec![Stored::Long(ids)], Vec::new(), begins, sizes.to_vec(), docs).unwrap()
    }

    fn lanes(pools: usize, rows: usize, seq_len: usize) -> Lanes {
        let shape = Shape { lanes: 1, pools, rows, seq_len, pad: -7, max_empty: 2 };
        let mut made = Lanes::new(shape, &vec![0; pools * 3], &vec![0; pools * 2], &vec![0; pools]).unwrap();
        let weights = vec![1.0 / pools as f64; pools];
        made.reweigh(&weights, &vec![0.0; pools], &[0.0]).unwrap();
        made
    }

    #[test]
    fn pools_take_turns_by_tokens_and_pieces_end_with_the_sequence() {
        let mut lanes = lanes(2, 1, 10);
        assert_eq!(lanes.fill().unwrap(), Some(Need { lane: 0, pool: 0, place: (0, 0) }));
        lanes.supply(0, 0, chunk(0, &[4, 0, 9], 100)).unwrap();
        assert_eq!(lanes.fill().unwrap().map(|need| need.pool), Some(1));
        lanes.supply(0, 1, chunk(0, &[3, 3, 3], 500)).unwrap();
        assert_eq!(lanes.fill().unwrap(), None);
        assert_eq!(lanes.tokens(), [100, 101, 102, 103, 500, 501, 502, 503, 504, 505]);
        let changes = lanes.finish();
        assert_eq!(changes.spans, [0, 0, 4, 0, 0, 0, 0, 4, 3, 1, 0, 0, 0, 7, 3, 1, 1, 0]);
        assert_eq!(changes.places, [0, 0, 0, 1, 0, 4, 1, 0, 0, 1, 0, 2, 0, 6, 2, 0]);
        assert_eq!((changes.passes, changes.clocks), (vec![8.0, 12.0], vec![10.0]));
        assert_eq!(lanes.fill().unwrap(), None);
        assert_eq!(lanes.tokens(), [104, 105, 106, 107, 108, 109, 110, 111, 112, 506]);
        assert_eq!(lanes.finish().places[..8], [0, 0, 0, 3, 0, 13, 3, 0], "one document had no token");
    }

    #[test]
    fn a_lane_without_documents_is_padded_and_counted() {
        let mut lanes = lanes(1, 2, 3);
        lanes.fill().unwrap();
        lanes.supply(0, 0, chunk(0, &[4], 0)).unwrap();
        assert_eq!(lanes.fill().unwrap(), Some(Need { lane: 0, pool: 0, place: (0, 1) }));
        lanes.exhaust(0, 0).unwrap();
        assert_eq!(lanes.fill().unwrap(), None);
        assert_eq!(lanes.tokens(), [0, 1, 2, 3, -7, -7]);
        let changes = lanes.finish();
        assert_eq!((changes.num_short, changes.passes), (1, vec![f64::INFINITY]));
        assert_eq!(lanes.tokens(), [-7; 6]);
    }

    #[test]
    fn stored_tokens_are_read_where_they_lie() {
        let files = vec![
            Stored::Short(UInt16Array::from(vec![9, 1, 2, 3, 65535])),
            Stored::Long(UInt32Array::from(vec![4_000_000_000])),
        ];
        let made = Chunk::new(0, 5, files, vec![0, 1], vec![2, 0], vec![3, 1], vec![70, 71]).unwrap();
        assert!(made.has(0, 6) && !made.has(0, 7) && !made.has(0, 4) && !made.has(1, 5));
        let mut out = [0; 2];
        made.copy(5, 1, &mut out);
        assert_eq!(out, [3, 65535]);
        made.copy(6, 0, &mut out[..1]);
        assert_eq!(out[0] as u32, 4_000_000_000);
    }

    #[test]
    fn wrong_tables_and_places_are_errors() {
        let shape = Shape { lanes: 1, pools: 1, rows: 1, seq_len: 1, pad: 0, max_empty: 2 };
        assert!(Lanes::new(shape, &[0; 2], &[0; 2], &[0]).is_err());
        let short = vec![Stored::Short(UInt16Array::from(vec![1, 2]))];
        assert!(Chunk::new(0, 0, short.clone(), Vec::new(), vec![1], vec![2], vec![0]).is_err());
        assert!(Chunk::new(0, 0, short.clone(), vec![1], vec![0], vec![2], vec![0]).is_err());
        assert!(Chunk::new(0, 0, short, Vec::new(), vec![0, 0], vec![2], vec![0]).is_err());
        let mut one = lanes(1, 1, 1);
        assert!(one.forget(0, 1).is_err() && one.exhaust(1, 0).is_err());
        let mut cursor = Lanes::new(shape, &[0, 0, 9], &[0; 2], &[0]).unwrap();
        cursor.reweigh(&[1.0], &[0.0], &[0.0]).unwrap();
        cursor.supply(0, 0, chunk(0, &[5], 0)).unwrap();
        assert!(cursor.fill().unwrap_err().to_string().contains("has 5 tokens, 9 were served"));
        let mut empty = lanes(1, 1, 1);
        empty.supply(0, 0, chunk(0, &[0; 9], 0)).unwrap();
        assert!(empty.fill().unwrap_err().to_string().contains("3 documents without a token"));
    }
}
