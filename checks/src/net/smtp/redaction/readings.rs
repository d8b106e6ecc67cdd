//! The ways in which a person could read a text back: decoded, turned round, or with every second letter left out.

use std::collections::HashSet;

/// In more ways a text is not read.
const MOST: usize = 1000;

/// Less than this among other octets is not decoded again: it stands there by chance.
const LEGIBLE: usize = 10;

/// What `text` may mean, itself first, and whether that is all. Encodings are looked for in each other as deep as
/// `deepest`: base64 of base64 is two.
pub(super) fn readings(text: &str, deepest: usize) -> (Vec<Vec<u8>>, bool) {
    let mut found = vec![text.as_bytes().to_vec()];
    found.extend(puzzles(text).into_iter().map(String::into_bytes));
    let mut seen = HashSet::from([text.to_owned()]);
    let mut fresh = vec![text.to_owned()];
    for _ in 0..deepest {
        let mut next = Vec::new();
        for text in &fresh {
            let decoded = decoded(text);
            next.extend(decoded.iter().map(|octets| legible(octets)).filter(|text| !text.is_empty()));
            found.extend(decoded);
            if found.len() > MOST {
                return (found, false);
            }
        }
        next.retain(|text| seen.insert(text.clone()));
        fresh = next;
    }
    (found, true)
}

/// What is done by hand: Caesar's cipher, its mirror, letters between others, the first and the last letters of words.
fn puzzles(text: &str) -> Vec<String> {
    let letters = |turned: &dyn Fn(u8) -> u8| text.chars().map(|c| replaced(c, turned)).collect::<String>();
    let mut puzzles: Vec<String> = (1..26).map(|by| letters(&|letter| (letter + by) % 26)).collect();
    puzzles.push(letters(&|letter| 25 - letter));
    let dense: Vec<char> = text.chars().filter(|c| !c.is_whitespace()).collect();
    for step in 2..=3 {
        puzzles.extend((0..step).map(|from| dense.iter().skip(from).step_by(step).collect()));
    }
    let words = || text.split(|c: char| !c.is_alphanumeric());
    puzzles.push(words().filter_map(|word| word.chars().next()).collect());
    puzzles.push(words().filter_map(|word| word.chars().last()).collect());
    puzzles
}

/// The letter `c` with another in its place: `turned` counts from `a`, which is 0.
fn replaced(c: char, turned: &dyn Fn(u8) -> u8) -> char {
    match c {
        'a'..='z' => char::from(b'a' + turned(c as u8 - b'a')),
        'A'..='Z' => char::from(b'A' + turned(c as u8 - b'A')),
        c => c,
    }
}

/// One step of decoding, in every way.
fn decoded(text: &str) -> Vec<Vec<u8>> {
    let mut decoded = vec![text.chars().rev().collect::<String>().into_bytes(), unescaped(text)];
    decoded.extend([2, 8, 10, 16].map(|radix| numbers(text, radix)));
    for radix in [8, 10] {
        decoded.extend((0..3).map(|skipped| triplets(text, radix, skipped)));
    }
    for alphabet in &ALPHABETS {
        decoded.extend((0..alphabet.period).map(|skipped| alphabet.octets(text, skipped)));
    }
    for value in [ascii85, base85] {
        decoded.extend((0..5).map(|skipped| of_85(text, value, skipped)));
    }
    decoded.retain(|octets| !octets.is_empty());
    decoded
}

/// What of `octets` is text. UTF-16 has a zero beside each letter.
fn legible(octets: &[u8]) -> String {
    let octets: Vec<u8> = octets.iter().copied().filter(|octet| *octet != 0).collect();
    let text = String::from_utf8_lossy(&octets);
    let runs = text.split(|c: char| c == char::REPLACEMENT_CHARACTER || (c.is_control() && !c.is_whitespace()));
    runs.filter(|run| run.len() >= LEGIBLE || run.len() == octets.len()).collect::<Vec<_>>().join(" ")
}

/// How a character is written by its number: what stands before it, the number's radix and most digits, and what may
/// stand after it.
const ESCAPES: [(&str, u32, usize, &str); 12] = [
    ("&#x", 16, 6, ";"),
    ("&#X", 16, 6, ";"),
    ("&#", 10, 7, ";"),
    ("\\u{", 16, 6, "}"),
    ("\\u", 16, 4, ""),
    ("\\U", 16, 8, ""),
    ("\\x", 16, 2, ""),
    ("\\", 8, 3, ""),
    ("0x", 16, 2, ""),
    ("U+", 16, 6, ""),
    ("%u", 16, 4, ""),
    ("%", 16, 2, ""),
];

/// The entities of HTML that stand for what has a meaning there.
const ENTITIES: [(&str, &str); 5] = [("&amp;", "&"), ("&lt;", "<"), ("&gt;", ">"), ("&quot;", "\""), ("&apos;", "'")];

/// `text` with characters in the place of their numbers: HTML, JSON, C, URLs, quoted-printable; nothing where there are
/// none.
fn unescaped(text: &str) -> Vec<u8> {
    let mut octets = Vec::with_capacity(text.len());
    let mut is_changed = false;
    let mut rest = text;
    while let Some(c) = rest.chars().next() {
        let entity = ENTITIES.iter().find_map(|(name, c)| Some((rest.strip_prefix(name)?, *c)));
        if let Some((after, c)) = entity {
            octets.extend_from_slice(c.as_bytes());
            (rest, is_changed) = (after, true);
        } else if let Some((after, number)) = escape(rest) {
            match u8::try_from(number) {
                // UTF-8 in quoted-printable and URLs is one number an octet.
                Ok(octet) => octets.push(octet),
                Err(_) => octets.extend(char::from_u32(number).map(String::from).unwrap_or_default().bytes()),
            }
            (rest, is_changed) = (after, true);
        } else {
            octets.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes());
            rest = rest.get(c.len_utf8()..).unwrap_or_default();
        }
    }
    if is_changed { octets } else { Vec::new() }
}

/// The number that `text` begins with, escaped, and what comes after it.
fn escape(text: &str) -> Option<(&str, u32)> {
    let quoted_printable = ("=", 16, 2, "");
    ESCAPES.iter().chain([&quoted_printable]).find_map(|(before, radix, most, after)| {
        let digits = text.strip_prefix(before)?;
        let length = digits.chars().take(*most).take_while(|c| c.is_digit(*radix)).count();
        let number = u32::from_str_radix(digits.get(..length)?, *radix).ok()?;
        let rest = digits.get(length..)?;
        Some((rest.strip_prefix(after).unwrap_or(rest), number))
    })
}

/// The numbers in `text` that are octets, whatever stands between them.
fn numbers(text: &str, radix: u32) -> Vec<u8> {
    let words = text.split(|c: char| !c.is_ascii_alphanumeric());
    words.filter_map(|word| u8::from_str_radix(word.trim_end_matches('h'), radix).ok()).collect()
}

/// The digits in `text` three by three.
fn triplets(text: &str, radix: u32, skipped: usize) -> Vec<u8> {
    let digits: Vec<u32> = text.chars().filter_map(|c| c.to_digit(radix)).skip(skipped).collect();
    let number = |digits: &[u32]| digits.iter().fold(0, |number, digit| number * radix + digit);
    digits.chunks_exact(3).filter_map(|digits| u8::try_from(number(digits)).ok()).collect()
}

/// An encoding of which each character holds some bits.
struct Alphabet {
    bits: u32,
    /// After so many characters an octet begins where a character does.
    period: usize,
    value: fn(char) -> Option<u32>,
}

const ALPHABETS: [Alphabet; 7] = [
    Alphabet { bits: 6, period: 4, value: base64 },
    Alphabet {
        bits: 6,
        period: 4,
        value: |c| {
            base64(if c == '-' {
                '+'
            } else if c == '_' {
                '/'
            } else {
                c
            })
        },
    },
    // uuencode.
    Alphabet { bits: 6, period: 4, value: |c| matches!(c, '!'..='`').then(|| (c as u32 - 32) % 64) },
    Alphabet { bits: 5, period: 8, value: base32 },
    // RFC 4648 section 7.
    Alphabet { bits: 5, period: 8, value: |c| c.to_digit(32) },
    Alphabet { bits: 4, period: 2, value: |c| c.to_digit(16) },
    Alphabet { bits: 1, period: 8, value: |c| c.to_digit(2) },
];

impl Alphabet {
    /// What `text` encodes after the characters that are skipped; what is not of the alphabet separates.
    fn octets(&self, text: &str, skipped: usize) -> Vec<u8> {
        let (mut octets, mut bits, mut held) = (Vec::new(), 0_u32, 0_u32);
        for value in text.chars().filter_map(self.value).skip(skipped) {
            bits = (bits << self.bits | value) & 0xffff;
            held += self.bits;
            if held >= 8 {
                held -= 8;
                octets.extend(u8::try_from(bits >> held & 0xff));
            }
        }
        octets
    }
}

fn base64(c: char) -> Option<u32> {
    let from = |first: char, value: u32| Some(c as u32 - first as u32 + value);
    match c {
        'A'..='Z' => from('A', 0),
        'a'..='z' => from('a', 26),
        '0'..='9' => from('0', 52),
        '+' => Some(62),
        '/' => Some(63),
        _ => None,
    }
}

fn base32(c: char) -> Option<u32> {
    match c.to_ascii_uppercase() {
        c @ 'A'..='Z' => Some(c as u32 - 'A' as u32),
        c @ '2'..='7' => Some(c as u32 - '2' as u32 + 26),
        _ => None,
    }
}

fn ascii85(c: char) -> Option<u32> {
    matches!(c, '!'..='u').then(|| c as u32 - 33)
}

/// Git's and Python's (RFC 1924).
fn base85(c: char) -> Option<u32> {
    const ALPHABET: &str = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz!#$%&()*+-;<=>?@^_`{|}~";
    ALPHABET.find(c).and_then(|at| u32::try_from(at).ok())
}

/// Four octets in five characters, fewer at the end.
fn of_85(text: &str, value: fn(char) -> Option<u32>, skipped: usize) -> Vec<u8> {
    let values: Vec<u32> = text.chars().filter_map(value).skip(skipped).collect();
    let group = |values: &[u32]| {
        let padded = values.iter().chain(&[84; 4]).take(5);
        let number = padded.fold(0_u64, |number, value| number * 85 + u64::from(*value));
        let octets = u32::try_from(number).unwrap_or_default().to_be_bytes();
        octets.into_iter().take(values.len() - 1).collect::<Vec<_>>()
    };
    values.chunks(5).flat_map(group).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn encodings_as_tools_print_them() {
        for written in [
            "cGFzc3dvcmQ=",
            "cannot decode cGFzc3dvcmQ=",
            "Y0dGemMzZHZjbVE9",
            "cG Fz c3 dv cm Q=",
            "70:61:73:73:77:6f:72:64",
            "0x70, 0x61, 0x73, 0x73, 0x77, 0x6f, 0x72, 0x64",
            "70617373776F7264",
            "%70%61%73%73%77%6f%72%64",
            "=70=61=73=73=77=6F=72=64",
            "p=61ssw=6Frd",
            "&#112;&#97;&#115;&#115;&#119;&#111;&#114;&#100;",
            "&#x70;&#x61;&#x73;&#x73;&#x77;&#x6f;&#x72;&#x64;",
            "\\u0070\\u0061\\u0073\\u0073\\u0077\\u006f\\u0072\\u0064",
            "\\160\\141\\163\\163\\167\\157\\162\\144",
            "112 97 115 115 119 111 114 100",
            "112097115115119111114100",
            "01110000 01100001 01110011 01110011 01110111 01101111 01110010 01100100",
            "OBQXG43XN5ZGI===",
            "obqxg43xn5zgi",
            "E1GN6SRNDTP68===",
            "E+*g/GAhM4",
            "aA9+EcW-iJ",
            "(<&%S<W=O<F0",
            "cABhAHMAcwB3AG8AcgBkAA==",
            "cnffjbeq",
            "kzhhdliw",
            "pXaXsXsXwXoXrXd",
            "papa alfa sierra sierra whiskey oscar romeo delta",
            "drowssap",
            "=Qmcvd3czFGc",
        ] {
            let (found, _) = readings(written, 3);
            let is_found = |octets: &Vec<u8>| {
                let letters = octets.iter().filter(|octet| octet.is_ascii_alphanumeric());
                letters.map(|octet| char::from(*octet)).collect::<String>().contains("password")
            };
            assert!(found.iter().any(is_found), "{written}");
        }
    }

    #[test]
    fn there_are_not_too_many() {
        let (found, is_all) = readings("535-5.7.8 Username and Password not accepted. For more information, go to", 3);
        assert!(is_all && found.len() < MOST / 4, "{}", found.len());
        let many: String = (0..55).map(|n| format!("X{n} of a keyword that nobody knows ")).collect();
        assert!(readings(&many, 3).0.len() < 2 * MOST);
    }
}
