//! A message that was sent, and what receivers make of it: its signatures, SPF, and DMARC.

use mail_auth::{AuthenticatedMessage, DkimOutput, MessageAuthenticator};

use crate::{Abstain, Context, Name, Selector, net::dns::Bridge, tags::Tags};

mod policy;
mod sender;
mod signature;

pub(crate) use self::{policy::dmarc, sender::spf, signature::signatures};

/// How many signatures of a message are looked at; receivers have limits too.
const MOST_SIGNATURES: usize = 20;

/// A message that was sent, its lines ended as SMTP ends them.
pub struct Message {
    file: String,
    octets: Vec<u8>,
    /// The addresses in From, in lower case.
    from: Vec<String>,
    /// The address in Return-Path, which the receiving MTA wrote: empty for a bounce.
    return_path: Option<String>,
    /// The selector and the domain of each signature.
    signers: Vec<(String, String)>,
}

impl Message {
    /// Reads a file as it was saved: a line that ends in LF alone is given its CR, as a submission does.
    ///
    /// # Errors
    /// There is no header.
    pub fn read(file: &str, saved: &[u8]) -> Result<Self, String> {
        let mut octets = Vec::with_capacity(saved.len() + saved.len() / 32);
        // The line that separates messages in an mbox file is not of the message.
        let saved = match saved.starts_with(b"From ") {
            true => {
                saved.iter().position(|octet| *octet == b'\n').and_then(|end| saved.get(end + 1..)).unwrap_or_default()
            }
            false => saved,
        };
        let mut last = 0;
        for octet in saved {
            if *octet == b'\n' && last != b'\r' {
                octets.push(b'\r');
            }
            octets.push(*octet);
            last = *octet;
        }
        let mut message =
            Self { file: file.to_owned(), octets, from: Vec::new(), return_path: None, signers: Vec::new() };
        let parsed = message.parsed().ok_or("holds no message: there is no header")?;
        let from = parsed.from.clone();
        let return_path = parsed.headers.iter().find(|(name, _)| is_named(name, "Return-Path"));
        let return_path = return_path.map(|(_, value)| bare_address(&String::from_utf8_lossy(value)));
        let signers = parsed.headers.iter().filter(|(name, _)| is_named(name, "DKIM-Signature"));
        let signers: Vec<_> = signers.take(MOST_SIGNATURES).filter_map(|(_, value)| signer(value)).collect();
        (message.from, message.return_path, message.signers) = (from, return_path, signers);
        Ok(message)
    }

    /// Where the keys of its signatures are due.
    pub fn selectors(&self) -> Vec<Selector> {
        self.signers.iter().filter_map(|(selector, domain)| format!("{selector}@{domain}").parse().ok()).collect()
    }

    /// The one domain of From (RFC 9989 section 3.2.2: the Author Domain).
    pub fn author_domain(&self) -> Option<Name> {
        let mut domains = self.from.iter().filter_map(|address| address.rsplit_once('@')?.1.parse::<Name>().ok());
        let first = domains.next()?;
        domains.all(|other| other == first).then_some(first)
    }

    /// As mail-auth reads it: signatures with `l=` are judged too.
    fn parsed(&self) -> Option<AuthenticatedMessage<'_>> {
        AuthenticatedMessage::parse_with_opts(&self.octets, None, false)
    }
}

/// The message that was given.
fn given(cx: &Context) -> Result<&Message, Abstain> {
    let how = || Abstain::NotApplicable("no message given: save one that was sent (--message FILE)".to_owned());
    cx.target.message.as_ref().ok_or_else(how)
}

/// What mail-auth says about every signature, asking through our own DNS.
async fn verified<'m>(cx: &Context, parsed: &'m AuthenticatedMessage<'m>) -> Option<Vec<DkimOutput<'m>>> {
    let bridge = Bridge::open(&cx.net.dns).await.ok()?;
    let authenticator = MessageAuthenticator(bridge.resolver()?);
    Some(bridge.while_serving(authenticator.verify_dkim(parsed)).await.0)
}

fn is_named(name: &[u8], field: &str) -> bool {
    name.trim_ascii().eq_ignore_ascii_case(field.as_bytes())
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

#[cfg(test)]
mod tests {
    use super::*;

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
        for text in ["", "\n\nbody", "no header here"] {
            assert!(Message::read("x.eml", text.as_bytes()).is_err(), "{text:?}");
        }
        let two = Message::read("x.eml", b"From: a@example.com, b@example.org\n\n").unwrap();
        assert_eq!(two.author_domain(), None);
    }
}
