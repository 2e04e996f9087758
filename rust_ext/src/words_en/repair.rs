//! The second pass: exceptions whose parts were cut apart are put together again.
//!
//! `X-Mr.` is cut into `X`, `-`, `Mr`, `.` before the exception `Mr.` is seen; so finished tokens are searched
//! for runs that an exception without its rule would have fallen into. Longest runs win, then the earlier; a
//! run that lost still keeps shorter ones out of its place. Runs are looked for across single spaces too and
//! keep others out, but are never joined: that is what the published splitter does.

use super::exceptions::{Exceptions, Rule};
use crate::text::Span;

/// Tokens `first..=last` that an exception's pattern matches; `rule` is none where a space is between them.
struct Run<'a> {
    first: usize,
    last: usize,
    rule: Option<&'a Rule>,
}

/// Whether some run inside the tokens of one chunk would be changed: the cheap test before [`rejoin`].
pub(super) fn is_needed(text: &str, tokens: &[Span], exceptions: &Exceptions) -> bool {
    let bytes = text.as_bytes();
    tokens.iter().enumerate().any(|(first, start)| {
        exceptions.can_rejoin(bytes[start.start as usize])
            && (first + 1..tokens.len())
                .take_while(|last| (tokens[*last].end - start.start) as usize <= exceptions.max_bytes())
                .any(|last| {
                    let run = &bytes[start.start as usize..tokens[last].end as usize];
                    exceptions
                        .find(run)
                        .is_some_and(|rule| rule.rejoins() && has_pattern(rule, &tokens[first..=last]))
                })
    })
}

/// Put the exceptions among `tokens` (all of a document) together.
pub(super) fn rejoin(text: &str, tokens: &mut Vec<Span>, exceptions: &Exceptions) {
    let mut runs = find_runs(text, tokens, exceptions);
    runs.sort_by_key(|run| (usize::MAX - (run.last - run.first), run.first));
    let mut is_taken = vec![false; tokens.len()];
    let mut rule_at: Vec<Option<&Run<'_>>> = Vec::new();
    rule_at.resize_with(tokens.len(), || None);
    for run in &runs {
        if !is_taken[run.first] && !is_taken[run.last] {
            rule_at[run.first] = Some(run);
        }
        is_taken[run.first..=run.last].fill(true);
    }
    let mut out = Vec::with_capacity(tokens.len());
    let mut at = 0;
    while at < tokens.len() {
        if let Some((run, rule)) = rule_at[at].and_then(|run| run.rule.map(|rule| (run, rule))) {
            push_tokens(tokens[at].start, rule, &mut out);
            at = run.last + 1;
        } else {
            out.push(tokens[at]);
            at += 1;
        }
    }
    *tokens = out;
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
