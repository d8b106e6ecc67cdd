//! The record that says that there is a policy, and which (RFC 8461 section 3.1).

use std::time::SystemTime;

use crate::{fields, text::timestamp};

/// The version that the record begins with.
pub const VERSION: &str = "STSv1";

/// 1*32(ALPHA / DIGIT), RFC 8461 section 3.1.
const LONGEST_ID: usize = 32;

/// The policy's id in a record that begins with `v=STSv1;`, or what is wrong and where.
pub fn id(text: &str) -> Result<String, String> {
    let fields = fields::fields(text).map_err(|error| format!("{}, at octet {}", error.reason, error.position))?;
    for field in fields.iter().skip(1) {
        if let Some(odd) = field.value.chars().find(|c| matches!(c, ' ' | '\t' | '=')) {
            return Err(format!("{}= holds the character {odd:?}, at octet {}", field.name, field.position));
        }
        if field.value.is_empty() {
            return Err(format!("{}= is empty, at octet {}", field.name, field.position));
        }
    }
    // Of a field that stands twice the first counts (RFC 8461 section 3.2).
    let id = fields.iter().find(|field| field.name == "id").ok_or("id= is missing")?;
    if id.value.len() > LONGEST_ID {
        return Err(format!("id= has {} characters, {LONGEST_ID} allowed, at octet {}", id.value.len(), id.position));
    }
    match id.value.chars().find(|c| !c.is_ascii_alphanumeric()) {
        Some(odd) => Err(format!("id= holds {odd:?}, letters and digits allowed, at octet {}", id.position)),
        None => Ok(id.value.to_owned()),
    }
}

/// The record as it was meant: with the id of `text` as far as it can be kept, else with the time.
pub fn corrected(text: &str, now: SystemTime) -> String {
    let only_plain = |text: &str| text.chars().filter(char::is_ascii_alphanumeric).take(LONGEST_ID).collect::<String>();
    let word = fields::spotted(text, "id").and_then(|value| value.split_whitespace().next());
    let id = word.map(only_plain).filter(|id| !id.is_empty()).unwrap_or_else(|| only_plain(&timestamp(now)));
    format!("v={VERSION}; id={id};")
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, UNIX_EPOCH};

    use super::*;

    #[test]
    fn ids_as_rfc_8461_spells_them() {
        let longest = "a".repeat(32);
        for (text, expected) in [
            ("v=STSv1; id=20160831085700Z;", "20160831085700Z"),
            ("v=STSv1;id=1", "1"),
            ("v=STSv1; x=y; id=1; id=2", "1"),
            (&format!("v=STSv1; id={longest};"), &longest),
        ] {
            assert_eq!(id(text).unwrap(), expected, "{text}");
        }
        for (text, why) in [
            ("v=STSv1;", "id= is missing"),
            ("v=STSv1; ID=1;", "id= is missing"),
            ("v=STSv1; id=;", "id= is empty, at octet 10"),
            ("v=STSv1; id=2016-08-31;", "id= holds '-', letters and digits allowed, at octet 10"),
            (&format!("v=STSv1; id={longest}b;"), "id= has 33 characters, 32 allowed, at octet 10"),
            ("v=STSv1; id=1 mode=enforce;", "id= holds the character ' ', at octet 10"),
            ("v=STSv1; id", "\"id\" is no name=value, at octet 10"),
        ] {
            assert_eq!(id(text).unwrap_err(), why, "{text}");
        }
    }

    #[test]
    fn what_is_printed_as_a_correction_is_correct() {
        let now = UNIX_EPOCH + Duration::from_secs(1_795_186_800);
        for (text, correction) in [
            ("v=STSv1; id=2016-08-31;", "v=STSv1; id=20160831;"),
            ("V=stsv1; ID=7", "v=STSv1; id=7;"),
            ("v=STSv1 id=7 mode=enforce", "v=STSv1; id=7;"),
            ("v=STSv1", "v=STSv1; id=20261120T150000Z;"),
            ("v=STSv1; id=-", "v=STSv1; id=20261120T150000Z;"),
        ] {
            assert_eq!(corrected(text, now), correction);
            assert!(id(&corrected(text, now)).is_ok());
        }
    }
}
