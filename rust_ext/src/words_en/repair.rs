//! The second pass: exceptions whose parts were cut apart are put together again.
//!
//! `X-Mr.` is cut into `X`, `-`, `Mr`, `.` before the exception `Mr.` is seen; so finished tokens are searched
//! for runs that an exception without its rule would have fallen into. Longest runs win, then the earlier; a
//! run that lost still keeps shorter ones out of its place. Runs are looked for across single spaces too and
//! keep others out, but are never joined: that is what the published splitter does.

use std::ops::Range;

use super::exceptions::{Exceptions, Rule};
use crate::text::Span;

/// Tokens `first..=last` that an exception's pattern matches; `rule` is none where a space is between them.
#[derive(Clone, Copy)]
struct Run<'a> {
    first: usize,
    last: usize,
    rule: Option<&'a Rule>,
}

/// Whether some run inside the tokens of one chunk would be changed: the cheap test before [`rejoin`].
pub(super) fn is_needed(text: &str, tokens: &[Span], exceptions: &Exceptions) -> bool {
    let bytes = text.as_bytes();
    (1..tokens.len()).any(|second| {
        let start = tokens[second - 1].start as usize;
        exceptions.may_rejoin(bytes, tokens[second].start as usize)
            && (second..tokens.len())
                .take_while(|last| tokens[*last].end as usize - start <= exceptions.max_bytes())
                .any(|last| {
                    let rule = exceptions.find(&bytes[start..tokens[last].end as usize]);
                    rule.is_some_and(|rule| rule.rejoins() && has_pattern(rule, &tokens[second - 1..=last]))
                })
    })
}

/// Put the exceptions among `tokens` (all of a document) together and append the result to `out`.
///
/// `chunks` are the ranges of tokens that need it, in order. Only the neighbourhood of each is looked at: up
/// to the next place that no pattern can stretch over.
pub(super) fn rejoin(
    text: &str,
    tokens: &[Span],
    chunks: &[Range<usize>],
    exceptions: &Exceptions,
    out: &mut Vec<Span>,
) {
    let is_open = |at: &usize| {
        let (Some(left), Some(right)) = (tokens[..*at].last(), tokens.get(*at)) else { return false };
        matches!(text.get(left.end as usize..right.start as usize), Some("" | " "))
            && exceptions.is_leading(left.of(text))
    };
    let mut done = 0;
    for chunk in chunks {
        if chunk.end <= done {
            continue;
        }
        let start = (done..=chunk.start.max(done)).rev().find(|at| !is_open(at)).unwrap_or(done);
        let end = (chunk.end..tokens.len()).find(|at| !is_open(at)).unwrap_or(tokens.len());
        out.extend_from_slice(&tokens[done..start]);
        rejoin_all(text, &tokens[start..end], exceptions, out);
        done = end;
    }
    out.extend_from_slice(&tokens[done..]);
}

/// Append `tokens` to `out`, with the exceptions among them put together.
fn rejoin_all(text: &str, tokens: &[Span], exceptions: &Exceptions, out: &mut Vec<Span>) {
    let mut runs = find_runs(text, tokens, exceptions);
    runs.sort_by_key(|run| (usize::MAX - (run.last - run.first), run.first));
    let mut is_taken = vec![false; tokens.len()];
    let mut chosen: Vec<Option<&Run<'_>>> = vec![None; tokens.len()];
    for run in &runs {
        if !is_taken[run.first] && !is_taken[run.last] {
            chosen[run.first] = Some(run);
        }
        is_taken[run.first..=run.last].fill(true);
    }
    let mut at = 0;
    while at < tokens.len() {
        if let Some((run, rule)) = chosen[at].and_then(|run| run.rule.map(|rule| (run, rule))) {
            push_tokens(tokens[at].start, rule, out);
            at = run.last + 1;
        } else {
            out.push(tokens[at]);
            at += 1;
        }
    }
}

/// Append the tokens of an exception that starts at byte `start`.
pub(super) fn push_tokens(start: u32, rule: &Rule, out: &mut Vec<Span>) {
    let mut start = start;
    for len in &rule.tokens {
        out.push(Span { start, end: start + u32::from(*len) });
        start += u32::from(*len);
    }
}

fn has_pattern(rule: &Rule, tokens: &[Span]) -> bool {
    rule.pattern.len() == tokens.len()
        && rule.pattern.iter().zip(tokens).all(|(len, token)| u32::from(*len) == token.end - token.start)
}

fn find_runs<'a>(text: &str, tokens: &[Span], exceptions: &'a Exceptions) -> Vec<Run<'a>> {
    let mut runs = Vec::new();
    let mut joined = Vec::new();
    for first in 0..tokens.len() {
        joined.clear();
        let mut has_space = false;
        for last in first..tokens.len() {
            if last > first {
                match text.get(tokens[last - 1].end as usize..tokens[last].start as usize) {
                    Some("") => {}
                    Some(" ") => has_space = true,
                    _ => break,
                }
            }
            joined.extend_from_slice(tokens[last].of(text).as_bytes());
            if joined.len() > exceptions.max_bytes() {
                break;
            }
            let rule = exceptions.find(&joined).filter(|rule| has_pattern(rule, &tokens[first..=last]));
            if let Some(rule) = rule {
                runs.push(Run { first, last, rule: (!has_space).then_some(rule) });
            }
        }
    }
    runs
}
