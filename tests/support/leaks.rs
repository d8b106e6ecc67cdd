//! Finds a secret in an output: in clear, in hexadecimal digits, or in base64 whatever stands before and behind it.

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

/// The trace of `secret` in `output`, if there is one.
pub(crate) fn leak(secret: impl AsRef<[u8]>, output: &str) -> Option<String> {
    let secret = secret.as_ref();
    assert!(secret.len() >= 8, "a short secret is found anywhere");
    traces(secret).into_iter().find(|trace| output.contains(trace))
}
