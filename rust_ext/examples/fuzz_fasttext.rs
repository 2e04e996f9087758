//! Damaged fastText models: each is refused or gives probabilities, without a panic and without much memory.
//!
//! `cargo run --profile fuzz --no-default-features --example fuzz_fasttext -- SECONDS SEED [CASE]` writes
//! small models of every kind, damages them, reads them and scores random texts. A case depends on the seed and its
//! number alone, so a failure, which names both, can be made again: with CASE only that one runs.
//!
//! Not here: coverage guidance, which needs a nightly compiler; whether scores are right, which tests compare
//! with a twin.

mod support;

use std::process::ExitCode;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use _rust::fasttext::{Model, Scorer};
use support::allocations;
use support::damage::damage;
use support::models::all_models;
use support::random::{Random, text};

/// Memory that a file may ask for at once, for each of its bytes and beyond them.
const BYTES_PER_BYTE: usize = 64;
const BYTES_BEYOND: usize = 1 << 20;
/// Rows for each byte of a text: the longest subwords and n-grams that a model may have.
const ROWS_PER_BYTE: usize = 2 * 1024;
const MAX_PROBABILITY: f32 = 1.0 + 1e-4;

/// Failures that are told one by one.
const MAX_SHOWN: u64 = 10;

/// The case at hand, for the message of a panic.
static CASE: AtomicU64 = AtomicU64::new(0);

#[derive(Debug, Default)]
struct Counts {
    cases: u64,
    failed: u64,
    accepted: u64,
    refused: u64,
    scored: u64,
    without_features: u64,
    largest_allocation: usize,
    slowest: Duration,
    slowest_case: u64,
}

fn main() -> ExitCode {
    let mut arguments = std::env::args().skip(1).map(|argument| argument.parse::<u64>());
    let (Some(Ok(seconds)), Some(Ok(seed)), case) = (arguments.next(), arguments.next(), arguments.next())
    else {
        eprintln!("usage: fuzz_fasttext SECONDS SEED [CASE]");
        return ExitCode::from(2);
    };
    let show = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |info| {
        eprintln!("panic in case {} of seed {seed}", CASE.load(Ordering::Relaxed));
        show(info);
    }));
    let models = all_models(seed);
    let mut counts = Counts::default();
    let first = case.and_then(Result::ok);
    let end = Instant::now() + Duration::from_secs(seconds);
    let mut number = first.unwrap_or(0);
    loop {
        CASE.store(number, Ordering::Relaxed);
        let start = Instant::now();
        if let Err(problem) = run(seed, number, &models, &mut counts) {
            counts.failed += 1;
            if counts.failed <= MAX_SHOWN {
                eprintln!("case {number} of seed {seed}: {problem}");
            }
        }
        if start.elapsed() > counts.slowest {
            (counts.slowest, counts.slowest_case) = (start.elapsed(), number);
        }
        counts.cases += 1;
        number += 1;
        if first.is_some() || Instant::now() >= end {
            break;
        }
    }
    println!("{counts:?}");
    if counts.failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// One damaged model and some texts.
fn run(seed: u64, number: u64, models: &[Vec<u8>], counts: &mut Counts) -> Result<(), String> {
    let mut random = Random::new(seed, number);
    let is_whole = random.below(16) == 0;
    let mut bytes = random.pick(models).clone();
    if !is_whole {
        damage(&mut bytes, models, &mut random);
    }
    allocations::reset();
    let found = Model::parse(&bytes).map(Scorer::new);
    let allowed = BYTES_PER_BYTE * bytes.len() + BYTES_BEYOND;
    check_memory(allowed, "reading", counts)?;
    match found {
        Ok(scorer) => {
            counts.accepted += 1;
            score(&scorer, allowed, &mut random, counts)
        }
        Err(error) if is_whole => Err(format!("a whole model is refused: {error}")),
        Err(error) if error.to_string().is_empty() => Err("an error without a message".into()),
        Err(_) => {
            counts.refused += 1;
            Ok(())
        }
    }
}

fn check_memory(allowed: usize, what: &str, counts: &mut Counts) -> Result<(), String> {
    let largest = allocations::largest();
    counts.largest_allocation = counts.largest_allocation.max(largest);
    if largest <= allowed {
        return Ok(());
    }
    Err(format!("{what} took {largest} bytes at once, more than {allowed}"))
}

/// Score texts with one memory for all and with a fresh one for each; what they give has to be the same.
fn score(scorer: &Scorer, allowed: usize, random: &mut Random, counts: &mut Counts) -> Result<(), String> {
    let (mut shared, mut best) = (scorer.scratch(), Vec::new());
    for _ in 0..random.below(4) {
        let text = text(random);
        let allowed = allowed + 4 * ROWS_PER_BYTE * (text.len() + 8);
        allocations::reset();
        let has_features = scorer.read(&text, 0..text.len(), &mut shared);
        let mut fresh = scorer.scratch();
        if has_features != scorer.read(&text, 0..text.len(), &mut fresh) {
            return Err(format!("an earlier text changes the features of {:?}", shown(&text)));
        }
        if !has_features {
            counts.without_features += 1;
            continue;
        }
        scorer.top(1, &mut shared, &mut best);
        let found = scorer.all(&mut shared);
        if found.iter().map(|x| x.to_bits()).ne(scorer.all(&mut fresh).iter().map(|x| x.to_bits())) {
            return Err(format!("an earlier text changes the score of {:?}", shown(&text)));
        }
        check_memory(allowed, "scoring", counts)?;
        if let Some(wrong) = found.iter().find(|x| !(0.0..=MAX_PROBABILITY).contains(*x)) {
            return Err(format!("a probability is {wrong} for {:?}", shown(&text)));
        }
        // A tree that adds up to more than one by the 1e-5 of each step may rank labels this close either way.
        match best.first() {
            Some(&(label, score)) if found.get(label).is_some_and(|x| (x - score).abs() <= 1e-6 * score) => {
                counts.scored += 1;
            }
            _ => return Err(format!("{} probabilities, the best is {best:?}", found.len())),
        }
    }
    Ok(())
}

fn shown(text: &str) -> String {
    text.chars().take(12).collect()
}
