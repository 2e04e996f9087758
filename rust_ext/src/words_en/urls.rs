//! Chunks that are web or mail addresses stay whole.
//!
//! Semantics: optional `scheme://`, optional user part up to an `@`, then a host name with a lower-case last
//! label or a public IPv4 address, optional port, optional path. Linear in the chunk.
//! Only ASCII digits count in ports and addresses.

use super::chars::{Classes, LOWER};
use crate::pystr;

/// Characters of a host label; the last label has one less.
const MAX_LABEL_CHARS: usize = 64;

/// Whether all of `chunk`, which has no white space, is an address.
pub(super) fn is_address(classes: &Classes, chunk: &str) -> bool {
    if !chunk.as_bytes().contains(&b'.') {
        return false;
    }
    let after_scheme = scheme_end(chunk);
    let after_user = chunk.match_indices('@').map(|(at, _)| at).filter(|at| *at > 0).map(|at| at + 1);
    std::iter::once(0)
        .chain(after_scheme)
        .chain(after_user)
        .any(|host| is_host_and_rest(classes, &chunk[host..]))
}

/// Where the text after `scheme://` starts.
fn scheme_end(chunk: &str) -> Option<usize> {
    let (scheme, rest) = chunk.split_once(':')?;
    let is_scheme_char = |char: char| pystr::is_word(char) || "+-.".contains(char);
    let is_scheme = scheme.chars().nth(1).is_some() && scheme.chars().all(is_scheme_char);
    (is_scheme && rest.starts_with("//")).then_some(scheme.len() + 3)
}

fn is_host_and_rest(classes: &Classes, text: &str) -> bool {
    let host_end = text.find(|char: char| !is_host_char(char)).unwrap_or(text.len());
    let (host, rest) = text.split_at(host_end);
    is_port_and_path(rest) && (is_domain(classes, host) || is_public_ip(host))
}

fn is_host_char(char: char) -> bool {
    // Beyond the basic plane only the last label may have letters; `is_domain` says which.
    is_label_char(char) || matches!(char, '.' | '-' | '_' | '\u{10000}'..)
}

fn is_label_char(char: char) -> bool {
    char.is_ascii_alphanumeric() || ('\u{a1}'..='\u{ffff}').contains(&char)
}

fn is_port_and_path(rest: &str) -> bool {
    let path = rest.strip_prefix(':').map_or(Some(rest), |port| {
        let digits = port.bytes().take_while(u8::is_ascii_digit).count();
        (2..=5).contains(&digits).then(|| &port[digits..])
    });
    path.is_some_and(|path| path.is_empty() || path.starts_with(['/', '?', '#']))
}

fn is_domain(classes: &Classes, host: &str) -> bool {
    let Some((labels, last)) = host.rsplit_once('.') else { return false };
    let num_chars = last.chars().take(MAX_LABEL_CHARS).count();
    (2..MAX_LABEL_CHARS).contains(&num_chars)
        && last.chars().all(|char| classes.of(char) & LOWER != 0)
        && labels.split('.').all(is_label)
}

fn is_label(label: &str) -> bool {
    label.starts_with(is_label_char)
        && label.ends_with(is_label_char)
        && label.chars().all(|char| is_label_char(char) || char == '-' || char == '_')
        && label.chars().nth(MAX_LABEL_CHARS).is_none()
}

/// Four octets, without private and local networks, broadcast addresses and what is reserved.
fn is_public_ip(host: &str) -> bool {
    let octets: Vec<&str> = host.split('.').take(5).collect();
    let &[first, second, third, last] = octets.as_slice() else { return false };
    let number = |octet: &str| {
        let is_number = (1..=3).contains(&octet.len()) && octet.bytes().all(|byte| byte.is_ascii_digit());
        octet.parse::<u16>().ok().filter(|_| is_number)
    };
    let (Some(a), Some(b), Some(c), Some(d)) = (number(first), number(second), number(third), number(last))
    else {
        return false;
    };
    let is_plain = |octet: &str| !octet.starts_with('0');
    let is_middle = |octet: &str, value: u16| value < 256 && (octet.len() < 3 || is_plain(octet));
    let is_local = match a {
        10 | 127 => true,
        169 => second == "254",
        192 => second == "168",
        172 => is_plain(second) && (16..32).contains(&b),
        _ => false,
    };
    is_plain(first)
        && a < 224
        && is_middle(second, b)
        && is_middle(third, c)
        && is_plain(last)
        && d < 255
        && !is_local
}
