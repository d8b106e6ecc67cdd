//! Words for a shell, whatever they hold.

/// A word for a shell: names come from DNS, which can hold anything.
pub fn word(text: &str) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "._-:[]@".contains(c);
    match !text.is_empty() && text.chars().all(is_plain) {
        true => text.to_owned(),
        false => format!("'{}'", text.replace('\'', r"'\''")),
    }
}

/// A name for `dig`, which takes one that begins like an option or a server for such.
pub fn dug(name: &str) -> String {
    let q = if name.starts_with(['-', '+', '@']) { "-q " } else { "" };
    format!("{q}{}", word(name))
}

/// A word for a command, which takes one that begins like an option for such.
pub fn operand(text: &str) -> String {
    let end_of_options = if text.starts_with('-') { "-- " } else { "" };
    format!("{end_of_options}{}", word(text))
}

/// An option with its value, which may begin like another option.
pub fn option(name: &str, value: &str) -> String {
    let separator = if value.starts_with('-') { '=' } else { ' ' };
    format!("{name}{separator}{}", word(value))
}
