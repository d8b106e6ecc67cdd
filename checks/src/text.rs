//! JSON on its way out: no value and no name in it controls a terminal.

use serde_json::{Map, Value};
use syntax::text::line;

/// `value` with every string of it, and every name of a member, as [`line`](fn@line) writes it.
pub fn value(value: Value) -> Value {
    match value {
        Value::String(text) => Value::String(line(&text)),
        Value::Array(values) => values.into_iter().map(self::value).collect(),
        Value::Object(named) => Value::Object(members(named)),
        other => other,
    }
}

/// The same for the names and values of an object. Names that come out alike are numbered: none takes another's place.
pub fn members(named: Map<String, Value>) -> Map<String, Value> {
    named.into_iter().fold(Map::new(), |mut shown, (name, member)| {
        let name = line(&name);
        let numbered = (shown.len() + 1..).map(|number| format!("{name} ({number})"));
        let free = std::iter::once(name.clone()).chain(numbered).find(|name| !shown.contains_key(name));
        shown.insert(free.unwrap_or(name), value(member));
        shown
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn names_are_text_too_and_none_takes_anothers_place() {
        let hostile = json!({"a\u{1b}[2J": 1, "a\\u{1b}[2J": [{"\u{202e}": "\u{9b}"}], "a\u{1b}[2J (2)": 3});
        let shown = json!({"a\\u{1b}[2J": 1, "a\\u{1b}[2J (2)": [{"\\u{202e}": "\\u{9b}"}], "a\\u{1b}[2J (2) (3)": 3});
        assert_eq!(value(hostile), shown);
    }
}
