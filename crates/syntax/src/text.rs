//! Text on its way out: whatever the world put into it, it neither controls a terminal nor hides there; and what
//! sentences write instead of a bare number or time.

use std::time::SystemTime;

/// One line of `text`: what controls a terminal, reorders what stands beside it, or is not seen at all stands there as
/// `\u{9b}`.
pub fn line(text: &str) -> String {
    text.chars().fold(String::with_capacity(text.len()), |mut shown, c| {
        match c {
            c if c.is_control() || is_unseen(c) => shown.extend(c.escape_unicode()),
            c => shown.push(c),
        }
        shown
    })
}

/// The same line by line.
pub fn lines(text: &str) -> String {
    text.lines().map(line).collect::<Vec<_>>().join("\n")
}

/// As much of a text as fits into so many octets.
pub fn beginning(text: &str, octets: usize) -> &str {
    text.get(..text.floor_char_boundary(octets)).unwrap_or_default()
}

/// As much of a text as one can read: its first `longest` characters, and a mark that there are more.
pub fn shortened(text: &str, longest: usize) -> String {
    match text.char_indices().nth(longest) {
        Some((end, _)) => format!("{}…", text.get(..end).unwrap_or_default()),
        None => text.to_owned(),
    }
}

/// A number with commas between the thousands.
pub fn grouped(number: usize) -> String {
    let digits = number.to_string();
    let mut shown = String::with_capacity(digits.len() + digits.len() / 3);
    for (position, digit) in digits.chars().enumerate() {
        if position > 0 && (digits.len() - position).is_multiple_of(3) {
            shown.push(',');
        }
        shown.push(digit);
    }
    shown
}

/// A time as the report writes it (RFC 3339, UTC, whole seconds).
pub fn timestamp(time: SystemTime) -> String {
    humantime::format_rfc3339_seconds(time).to_string()
}

/// What a terminal does not show, or shows elsewhere: the characters that reorder (Unicode Standard Annex 9), that
/// separate lines and paragraphs, that annotate, all the others that Unicode has no glyph for
/// (`Default_Ignorable_Code_Point`): zero-width, soft hyphen, byte order mark, fillers, variation selectors, tags; what
/// formats the characters after it (general category Cf), and the two glyphs that are blank, though not blanks.
fn is_unseen(c: char) -> bool {
    matches!(
        c,
        '\u{ad}' | '\u{34f}' | '\u{600}'..='\u{605}' | '\u{61c}' | '\u{6dd}' | '\u{70f}' | '\u{890}'..='\u{891}'
            | '\u{8e2}' | '\u{115f}'..='\u{1160}' | '\u{17b4}'..='\u{17b5}' | '\u{180b}'..='\u{180f}'
            | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{2800}' | '\u{3164}'
            | '\u{fe00}'..='\u{fe0f}' | '\u{feff}' | '\u{ffa0}' | '\u{fff0}'..='\u{fffb}' | '\u{110bd}' | '\u{110cd}'
            | '\u{13430}'..='\u{13440}' | '\u{1bca0}'..='\u{1bca3}' | '\u{1d159}' | '\u{1d173}'..='\u{1d17a}'
            | '\u{e0000}'..='\u{e0fff}'
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_controls_reorders_or_hides_is_spelt_out() {
        let controls = ('\0'..='\u{1f}').chain('\u{7f}'..='\u{9f}');
        let bidi = "\u{61c}\u{200e}\u{200f}\u{202a}\u{202b}\u{202c}\u{202d}\u{202e}\u{2066}\u{2067}\u{2068}\u{2069}";
        let unseen = "\u{2028}\u{2029}\u{200b}\u{200c}\u{200d}\u{2060}\u{feff}\u{ad}\u{fff9}\u{fffa}\u{fffb}\u{fe0f}";
        for c in controls.chain(bidi.chars()).chain(unseen.chars()).chain('\u{e0000}'..='\u{e007f}') {
            assert_eq!(line(&format!("a{c}b")), format!("a\\u{{{:x}}}b", u32::from(c)));
        }
        for c in "\u{600}\u{6dd}\u{70f}\u{8e2}\u{2800}\u{110bd}\u{13430}\u{1d159}".chars() {
            assert_eq!(line(&format!("a{c}b")), format!("a\\u{{{:x}}}b", u32::from(c)));
        }
        let seen = "dé→ \u{a0}ünï 日本語 \\ \" ' \u{fffd} 🦀";
        assert_eq!(line(seen), seen);
        assert_eq!(lines("one\r\ntwo\u{8}\n\rthree"), "one\ntwo\\u{8}\n\\u{d}three");
    }
}
