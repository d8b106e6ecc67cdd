//! Text from elsewhere, on its way out: whatever the world put into it, it neither controls a terminal nor hides there.

use serde_json::{Map, Value};

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

/// The same for every string in `value`, and for the names of its members.
pub fn value(value: Value) -> Value {
    match value {
        Value::String(text) => Value::String(line(&text)),
        Value::Array(values) => values.into_iter().map(self::value).collect(),
        Value::Object(named) => Value::Object(members(named)),
        other => other,
    }
}

/// The same for the names and values of an object. Names that come out alike are numbered: none takes another's place.
pub(crate) fn members(named: Map<String, Value>) -> Map<String, Value> {
    named.into_iter().fold(Map::new(), |mut shown, (name, member)| {
        let name = line(&name);
        let numbered = (shown.len() + 1..).map(|number| format!("{name} ({number})"));
        let free = std::iter::once(name.clone()).chain(numbered).find(|name| !shown.contains_key(name));
        shown.insert(free.unwrap_or(name), value(member));
        shown
    })
}

/// What a terminal does not show, or shows elsewhere: the characters that reorder (Unicode Standard Annex 9), that
/// separate lines and paragraphs, that annotate, all the others that Unicode has no glyph for
/// (`Default_Ignorable_Code_Point`): zero-width, soft hyphen, byte order mark, fillers, variation selectors, tags; what formats
/// the characters behind it (general category Cf), and the two glyphs that are blank, though no blanks.
fn is_unseen(c: char) -> bool {
    matches!(
        c,
        '\u{ad}' | '\u{34f}' | '\u{600}'..='\u{605}' | '\u{61c}' | '\u{6dd}' | '\u{70f}' | '\u{890}'..='\u{891}' | '\u{8e2}' | '\u{115f}'..='\u{1160}' | '\u{17b4}'..='\u{17b5}' | '\u{180b}'..='\u{180f}'
            | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{2800}' | '\u{3164}'
            | '\u{fe00}'..='\u{fe0f}' | '\u{feff}' | '\u{ffa0}' | '\u{fff0}'..='\u{fffb}' | '\u{1bca0}'..='\u{1bca3}'
            | '\u{110bd}' | '\u{110cd}' | '\u{13430}'..='\u{13440}' | '\u{1d159}' | '\u{1d173}'..='\u{1d17a}' | '\u{e0000}'..='\u{e0fff}'
    )
}

#[cfg(test)]
mod tests {
    use serde_json::json;

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

    #[test]
    fn names_are_text_too_and_none_takes_anothers_place() {
        let hostile = json!({"a\u{1b}[2J": 1, "a\\u{1b}[2J": [{"\u{202e}": "\u{9b}"}], "a\u{1b}[2J (2)": 3});
        let shown = json!({"a\\u{1b}[2J": 1, "a\\u{1b}[2J (2)": [{"\\u{202e}": "\\u{9b}"}], "a\\u{1b}[2J (2) (3)": 3});
        assert_eq!(value(hostile), shown);
    }
}
