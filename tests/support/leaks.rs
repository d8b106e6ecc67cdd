//! Finds a secret in an output: in clear or in a writing that a person can read back, whatever stands before, behind and
//! between.

use base64::{
    Engine,
    engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD},
};

/// What must not appear anywhere when `secret` must not.
pub(crate) fn traces(secret: &[u8]) -> Vec<String> {
    let hex: String = secret.iter().map(|octet| format!("{octet:02x}")).collect();
    let mut traces = vec![hex.to_ascii_uppercase(), hex];
    traces.extend(std::str::from_utf8(secret).ok().map(str::to_owned));
    for before in 0..3 {
        let octets = [vec![0; before], secret.to_vec()].concat();
        for text in [STANDARD_NO_PAD.encode(&octets), URL_SAFE_NO_PAD.encode(&octets)] {
            // The first and the last characters also hold bits of the neighbours.
            let (first, last) = ((before * 8).div_ceil(6), octets.len() * 8 / 6);
            traces.push(text[first..last].to_owned());
        }
    }
    traces
}

/// The same for an output of which letters and digits are left, in lower case.
fn squeezed_traces(secret: &[u8]) -> Vec<String> {
    let Ok(text) = std::str::from_utf8(secret) else { return Vec::new() };
    let in_digits = |digits: fn(u8) -> String| secret.iter().map(|octet| digits(*octet)).collect::<String>();
    let twice = STANDARD_NO_PAD.encode(STANDARD_NO_PAD.encode(secret));
    let mut traces = vec![
        text.to_owned(),
        twice,
        base32(secret),
        in_digits(|octet| format!("{octet:02x}")),
        in_digits(|octet| format!("{octet}")),
        in_digits(|octet| format!("{octet:08b}")),
        in_digits(|octet| format!("x{octet:x}")),
        in_digits(|octet| format!("0x{octet:x}")),
        text.chars().map(rot13).collect(),
    ];
    traces.extend(traces.clone().iter().map(|trace| trace.chars().rev().collect()));
    let squeezed = traces.iter().map(|trace| squeezed(trace));
    squeezed.filter(|trace| trace.len() >= 8).collect()
}

fn squeezed(text: &str) -> String {
    text.chars().filter(char::is_ascii_alphanumeric).map(|c| c.to_ascii_lowercase()).collect()
}

pub(crate) fn base32(octets: &[u8]) -> String {
    const ALPHABET: &str = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";
    let bits: Vec<u8> = octets.iter().flat_map(|octet| (0..8).rev().map(move |bit| octet >> bit & 1)).collect();
    let value = |bits: &[u8]| (0..5).fold(0, |value, at| value * 2 + usize::from(bits.get(at).copied().unwrap_or(0)));
    bits.chunks(5).filter_map(|bits| ALPHABET.chars().nth(value(bits))).collect()
}

pub(crate) fn rot13(c: char) -> char {
    match c {
        'a'..='m' | 'A'..='M' => char::from(c as u8 + 13),
        'n'..='z' | 'N'..='Z' => char::from(c as u8 - 13),
        c => c,
    }
}

/// The trace of `secret` in `output`, if there is one.
pub(crate) fn leak(secret: impl AsRef<[u8]>, output: &str) -> Option<String> {
    let secret = secret.as_ref();
    assert!(secret.len() >= 8, "a short secret is found anywhere");
    let shown = squeezed(output);
    let plain = traces(secret).into_iter().find(|trace| output.contains(trace));
    plain.or_else(|| squeezed_traces(secret).into_iter().find(|trace| shown.contains(trace)))
}
