//! A message that was sent, and what receivers make of it: its signatures, SPF, and DMARC.

use std::{collections::HashSet, ops::Range};

use mail_auth::AuthenticatedMessage;
use syntax::{Name, Selector, tags::Tags};
use tokio::sync::OnceCell;

use self::verified::Verified;
use crate::{Abstain, Context};

mod body;
pub(crate) mod field;
mod policy;
mod second_opinion;
mod sender;
mod signature;
mod verified;

pub use self::second_opinion::second_opinion;
pub(crate) use self::{policy::dmarc, sender::spf, signature::signatures};

/// How many signatures of a message are looked at; receivers have limits too.
const MOST_SIGNATURES: usize = 20;

/// Many times what the most patient receiver reads (Gmail: 500 KB), in octets.
const LONGEST_HEADER: usize = 4 * 1024 * 1024;

/// What a line may have (RFC 5322 section 2.1.1); a path has at most 256 octets (RFC 5321 section 4.5.3.1.3).
const LONGEST_PATH: usize = 998;

/// A message that was sent, its lines ended as SMTP ends them.
pub struct Message {
    file: String,
    octets: Vec<u8>,
    fields: Vec<Field>,
    /// Where the body begins.
    body: usize,
    /// The addresses in From, in lower case, the first of each domain.
    from: Vec<String>,
    /// The address in Return-Path, which the receiving MTA wrote: empty for a bounce.
    return_path: Option<String>,
    /// Which fields are signatures: the first of them.
    signatures: Vec<usize>,
    /// How many fields are.
    signed: usize,
    /// The line of the first CR that no LF follows.
    bare_cr: Option<usize>,
    verified: OnceCell<Vec<Verified>>,
}

/// Where the name and the value of a header field are; its line end belongs to the value.
struct Field {
    name: Range<usize>,
    value: Range<usize>,
}

impl Message {
    /// Reads a file as it was saved: a line that ends in LF alone is given its CR, as a submission does.
    ///
    /// # Errors
    /// There is no header, or a longer one than anybody takes.
    pub fn read(file: &str, saved: &[u8]) -> Result<Self, String> {
        let (octets, bare_cr) = submitted(saved);
        let (fields, body) = split(&octets)?;
        let mut message = Self {
            file: file.to_owned(),
            octets,
            fields,
            body,
            from: Vec::new(),
            return_path: None,
            signatures: Vec::new(),
            signed: 0,
            bare_cr,
            verified: OnceCell::new(),
        };
        message.from = message.addresses();
        let path = message.named("Return-Path").next().map(|(_, value)| value);
        if let Some(long) = path.filter(|path| path.len() > LONGEST_PATH) {
            return Err(format!("has a Return-Path of {} octets, and no server writes that", long.len()));
        }
        message.return_path = path.map(|value| bare_address(&String::from_utf8_lossy(value)));
        let signatures: Vec<usize> = message.named("DKIM-Signature").map(|(at, _)| at).collect();
        message.signed = signatures.len();
        message.signatures = signatures.into_iter().take(MOST_SIGNATURES).collect();
        Ok(message)
    }

    /// Where the keys of its signatures are due.
    pub fn selectors(&self) -> Vec<Selector> {
        let signers = self.signatures.iter().filter_map(|at| signer(self.value(*at)));
        signers.filter_map(|(selector, domain)| format!("{selector}@{domain}").parse().ok()).collect()
    }

    /// The one domain of From (RFC 9989 section 3.2.2: the Author Domain).
    pub fn author_domain(&self) -> Option<Name> {
        let mut domains = self.from.iter().filter_map(|address| address.rsplit_once('@')?.1.parse::<Name>().ok());
        let first = domains.next()?;
        domains.all(|other| other == first).then_some(first)
    }

    /// The addresses of every From, as mail-auth reads them: one of each domain, since nothing else is asked of them.
    fn addresses(&self) -> Vec<String> {
        let lines: Vec<u8> = self.named("From").flat_map(|(_, value)| [b"From:", value].concat()).collect();
        let all = AuthenticatedMessage::parse(&lines).map(|parsed| parsed.from).unwrap_or_default();
        let mut known = HashSet::new();
        all.into_iter()
            .filter(|address| known.insert(address.rsplit_once('@').map(|(_, domain)| domain.to_owned())))
            .collect()
    }

    /// The fields of a name, white space before the colon not counted (RFC 5322 section 4.5).
    fn named<'a>(&'a self, field: &'a str) -> impl Iterator<Item = (usize, &'a [u8])> {
        let is_named =
            |(at, _): &(usize, &Field)| self.name(*at).trim_ascii_end().eq_ignore_ascii_case(field.as_bytes());
        self.fields.iter().enumerate().filter(is_named).map(|(at, _)| (at, self.value(at)))
    }

    fn name(&self, at: usize) -> &[u8] {
        self.fields.get(at).and_then(|field| self.octets.get(field.name.clone())).unwrap_or_default()
    }

    fn value(&self, at: usize) -> &[u8] {
        self.fields.get(at).and_then(|field| self.octets.get(field.value.clone())).unwrap_or_default()
    }

    fn body(&self) -> &[u8] {
        self.octets.get(self.body..).unwrap_or_default()
    }
}

/// The octets with every line ended in CRLF, and the line of the first CR inside of one.
fn submitted(saved: &[u8]) -> (Vec<u8>, Option<usize>) {
    let mut octets = Vec::with_capacity(saved.len() + saved.len() / 32);
    // The line that separates messages in an mbox file is not of the message.
    let separator = if saved.starts_with(b"From ") { line_length(saved) } else { 0 };
    let (mut last, mut line, mut bare_cr) = (b'\n', 1 + usize::from(separator > 0), None);
    for octet in saved.iter().skip(separator) {
        match (last, *octet) {
            (b'\r', b'\n') => {}
            (b'\r', _) => bare_cr = bare_cr.or(Some(line)),
            (_, b'\n') => octets.push(b'\r'),
            _ => {}
        }
        line += usize::from(*octet == b'\n');
        octets.push(*octet);
        last = *octet;
    }
    match last {
        b'\n' => {}
        b'\r' => octets.push(b'\n'),
        _ => octets.extend(b"\r\n"),
    }
    (octets, bare_cr)
}

/// The header fields, and where the body begins: behind an empty line, or with the first line that is no field.
fn split(octets: &[u8]) -> Result<(Vec<Field>, usize), String> {
    let mut fields = Vec::new();
    let mut start = 0;
    let body = loop {
        let rest = octets.get(start..).unwrap_or_default();
        if rest.starts_with(b"\r\n") {
            break start + 2;
        }
        let line = line_length(rest);
        let Some(colon) = rest.get(..line).unwrap_or_default().iter().position(|octet| *octet == b':') else {
            break start;
        };
        let mut end = start + line;
        while let Some(b' ' | b'\t') = octets.get(end) {
            end += line_length(octets.get(end..).unwrap_or_default());
        }
        if end > LONGEST_HEADER {
            return Err(format!("has a header of more than {} MiB, and no receiver takes that", LONGEST_HEADER >> 20));
        }
        fields.push(Field { name: start..start + colon, value: start + colon + 1..end });
        start = end;
    };
    match fields.is_empty() {
        true => Err("holds no message: there is no header".to_owned()),
        false => Ok((fields, body)),
    }
}

/// The length of the first line, its end included.
fn line_length(text: &[u8]) -> usize {
    text.iter().position(|octet| *octet == b'\n').map_or(text.len(), |end| end + 1)
}

/// The message that was given.
fn given(cx: &Context) -> Result<&Message, Abstain> {
    let how = || Abstain::NotApplicable("no message given: save one that was sent (--message FILE)".to_owned());
    cx.target.message.as_ref().ok_or_else(how)
}

/// The tags of a DKIM-Signature field, as far as they are a tag list.
fn tags(value: &[u8]) -> Option<Tags> {
    Tags::parse(std::str::from_utf8(value).ok()?.trim()).ok()
}

/// Selector and domain of a DKIM-Signature field.
fn signer(value: &[u8]) -> Option<(String, String)> {
    let tags = tags(value)?;
    let (selector, domain) = (tags.get("s")?, tags.get("d")?);
    Some((selector.to_ascii_lowercase(), domain.to_ascii_lowercase()))
}

/// What stands between the angle brackets.
fn bare_address(text: &str) -> String {
    let text = text.trim();
    let inside = text.split_once('<').and_then(|(_, rest)| rest.split_once('>')).map_or(text, |(inside, _)| inside);
    inside.trim().to_owned()
}

/// What must hold of every DKIM-Signature field.
#[cfg(any(test, feature = "fuzzing"))]
pub(crate) fn fuzz_field(value: &[u8]) {
    if let Ok(says) = field::Signature::read(value) {
        assert_eq!(says.signature.v, 1);
        assert!(
            !says.signature.b.is_empty() && !says.signature.bh.is_empty() && !says.signature.h.is_empty(),
            "{says:?}"
        );
        assert!(says.key.is_within(&says.domain), "{says:?}");
    }
}

/// What must hold of every file that is given as a message.
#[cfg(any(test, feature = "fuzzing"))]
pub(crate) fn fuzz(saved: &[u8]) {
    let Ok(message) = Message::read("message", saved) else { return };
    let whole: Vec<u8> = (0..message.fields.len())
        .flat_map(|at| [message.name(at), b":", message.value(at)].concat())
        .chain(message.body().iter().copied())
        .collect();
    let without_separator: Vec<u8> = message.octets.iter().copied().filter(|octet| !b"\r\n".contains(octet)).collect();
    let whole: Vec<u8> = whole.into_iter().filter(|octet| !b"\r\n".contains(octet)).collect();
    assert_eq!(whole, without_separator);
    assert!(message.signatures.len() <= MOST_SIGNATURES && message.signatures.len() <= message.signed);
    let _ = (message.selectors(), message.author_domain());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn where_fields_end() {
        let text = "A: b\n c\n\td\nB :x\nno field\nC: d\n\ne\r\rf";
        let message = Message::read("x.eml", text.as_bytes()).unwrap();
        let fields: Vec<_> = (0..message.fields.len()).map(|at| (message.name(at), message.value(at))).collect();
        assert_eq!(fields, [(&b"A"[..], &b" b\r\n c\r\n\td\r\n"[..]), (&b"B "[..], &b"x\r\n"[..])]);
        assert_eq!(message.body(), b"no field\r\nC: d\r\n\r\ne\r\rf\r\n");
        assert_eq!(message.bare_cr, Some(8));
        let error = Message::read("x.eml", &[b"A: ", b"b".repeat(LONGEST_HEADER).as_slice()].concat()).err();
        assert_eq!(error.as_deref(), Some("has a header of more than 4 MiB, and no receiver takes that"));
    }

    #[test]
    fn what_a_file_holds() {
        let text = "From someone Fri Nov 20 15:00:00 2026\nReturn-Path: <bounce@Example.com>\nDKIM-Signature: v=1; s=S1;\n\td=example.com\nFrom: A <a@Example.com>\n\nbody\r\n";
        let message = Message::read("x.eml", text.as_bytes()).unwrap();
        assert!(
            message.octets.starts_with(b"Return-Path: <bounce@Example.com>\r\n")
                && message.octets.ends_with(b"\r\n\r\nbody\r\n")
        );
        assert_eq!(message.author_domain(), Some("example.com".parse().unwrap()));
        assert_eq!(message.return_path.as_deref(), Some("bounce@Example.com"));
        assert_eq!(message.selectors(), ["s1@example.com".parse().unwrap()]);
        for text in ["", "\n\nbody", "no header here", "From "] {
            assert!(Message::read("x.eml", text.as_bytes()).is_err(), "{text:?}");
        }
        let two = Message::read("x.eml", b"From: a@example.com, b@example.org\n\n").unwrap();
        assert_eq!(two.author_domain(), None);
    }
}
