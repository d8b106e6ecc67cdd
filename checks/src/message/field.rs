//! A DKIM-Signature field, read as RFC 6376 section 3.5 has it: whatever the standard rules out is no signature.

use base64::{
    Engine,
    engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig},
};
use mail_auth::dkim;
use syntax::{
    Name,
    tags::{Tags, shortened},
};

/// Base64 as verifiers read it: some signers leave the padding out.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &base64::alphabet::STANDARD,
    GeneralPurposeConfig::new()
        .with_decode_padding_mode(DecodePaddingMode::Indifferent)
        .with_decode_allow_trailing_bits(true),
);

/// What a field says that is spelled right.
#[derive(Debug)]
pub(crate) struct Signature {
    /// As mail-auth reads it.
    pub(super) signature: dkim::Signature,
    /// `d=`.
    pub(super) domain: Name,
    /// `SELECTOR._domainkey.DOMAIN`.
    pub(super) key: Name,
    /// The domain of `i=`, which is `d=` where there is none.
    pub(super) identity: Name,
    /// `t=`, `x=`: seconds since 1970.
    pub(super) signed: Option<u64>,
    pub(super) expires: Option<u64>,
    /// `l=`, in octets.
    pub(super) length: Option<u64>,
}

impl Signature {
    /// Reads the value of a field.
    ///
    /// # Errors
    /// Says what verifiers do not accept.
    pub(crate) fn read(value: &[u8]) -> Result<Self, String> {
        let text = std::str::from_utf8(value).map_err(|_| "it is not UTF-8".to_owned())?;
        if let Some(odd) = text.chars().find(|c| (c.is_control() || c.is_whitespace()) && !" \t\r\n".contains(*c)) {
            return Err(format!("it holds the character {odd:?}"));
        }
        let tags = Tags::parse(text.trim()).map_err(|error| error.reason)?;
        let due = |name: &str| tags.get(name).filter(|value| !value.is_empty()).ok_or(format!("{name}= is missing"));
        let wrong = |name: &str, value: &str, what: &str| format!("{name}={} {what}", shortened(value));
        match due("v")? {
            "1" => {}
            other => return Err(wrong("v", other, "is not v=1")),
        }
        let algorithm = due("a")?;
        if !["rsa-sha256", "ed25519-sha256", "rsa-sha1"].iter().any(|known| algorithm.eq_ignore_ascii_case(known)) {
            return Err(wrong("a", algorithm, "is no algorithm that verifiers know"));
        }
        for name in ["b", "bh"] {
            let value = due(name)?;
            let octets: Vec<u8> = value.bytes().filter(|octet| !octet.is_ascii_whitespace()).collect();
            BASE64.decode(octets).map_err(|_| wrong(name, value, "is no base64"))?;
        }
        let name = |name: &str, value: &str| domain(value).map_err(|why| wrong(name, value, &why));
        let domain = name("d", due("d")?)?;
        let selector = due("s")?;
        name("s", selector)?;
        let key = domain.child(&format!("{selector}._domainkey")).map_err(|why| wrong("s", selector, &why))?;
        if let Some(field) =
            due("h")?.split(':').map(str::trim).find(|field| !field.bytes().all(|c| c.is_ascii_graphic()))
        {
            return Err(format!("h= lists {:?}, which is no name of a field", shortened(field)));
        }
        if let Some(form) = tags.get("c")
            && !is_form(form)
        {
            return Err(wrong("c", form, "is no canonical form that verifiers know"));
        }
        if let Some(methods) = tags.get("q")
            && !methods.split(':').any(|method| method.trim() == "dns/txt")
        {
            return Err(wrong("q", methods, "names no way to the key that verifiers know"));
        }
        let identity = match tags.get("i") {
            Some(identity) => {
                let at = identity.rsplit_once('@').ok_or(wrong("i", identity, "holds no @"))?.1;
                name("i", at).map_err(|_| wrong("i", identity, "ends in no domain"))?
            }
            None => domain.clone(),
        };
        let number = |name: &str| {
            tags.get(name).map(|value| number(value).ok_or(wrong(name, value, "is no number"))).transpose()
        };
        let (signed, expires, length) = (number("t")?, number("x")?, number("l")?);
        let signature = dkim::Signature::parse(value).map_err(|error| error.to_string())?;
        if signature.v != 1 {
            return Err("v= cannot be read".to_owned());
        }
        // Who verifies and who judges alignment has to mean the same domain.
        if signature.d.parse::<Name>().as_ref() != Ok(&domain) {
            return Err(wrong("d", due("d")?, "is not one domain"));
        }
        Ok(Self { domain, key, identity, signed, expires, length, signature })
    }
}

/// A domain as the standard writes one: no dot behind it, and nothing in it that only DNS could carry.
fn domain(text: &str) -> Result<Name, String> {
    match text.chars().find(|c| c.is_ascii() && !c.is_ascii_alphanumeric() && !"-_.".contains(*c)) {
        Some(odd) => Err(format!("has the character {odd:?}")),
        None if text.ends_with('.') => Err("ends in a dot".to_owned()),
        None => text.parse(),
    }
}

/// `c=`: one word for the header, and perhaps one for the body.
fn is_form(text: &str) -> bool {
    let is_known = |word: &str| ["simple", "relaxed"].iter().any(|known| word.trim().eq_ignore_ascii_case(known));
    match text.split_once('/') {
        Some((header, body)) => is_known(header) && is_known(body),
        None => is_known(text),
    }
}

/// Digits, of which the standard allows 76; what no clock and no body reaches is the largest number.
fn number(text: &str) -> Option<u64> {
    let is_number = !text.is_empty() && text.bytes().all(|octet| octet.is_ascii_digit());
    is_number.then(|| text.parse().unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = "v=1; a=rsa-sha256; c=relaxed/simple; d=example.com; s=s1; h=from : to; bh=AAAA; b=AA AA";

    #[test]
    fn fields_as_signers_write_them() {
        for more in
            ["", ";", "; q=dns/txt", "; q=http : dns/txt", "; i=a@b.example.com", "; z=From:a=3Db@c", "; l=0", "; y="]
        {
            let signature = Signature::read(format!("{GOOD}{more}\r\n").as_bytes());
            assert!(signature.is_ok(), "{more}: {signature:?}");
        }
        let signature = Signature::read(GOOD.replace("; b=AA AA", "; b=AAA").as_bytes()).unwrap();
        assert_eq!(signature.key.to_string(), "s1._domainkey.example.com");
        assert_eq!(signature.identity, signature.domain);
        let far = Signature::read(format!("{GOOD}; x={}", "9".repeat(76)).as_bytes()).unwrap();
        assert_eq!(far.expires, Some(u64::MAX));
    }

    #[test]
    fn what_is_no_signature_says_why() {
        for (old, new, why) in [
            ("v=1; ", "", "v= is missing"),
            ("v=1", "\u{c} v=1", "it holds the character '\\u{c}'"),
            ("d=example.com", "d=example.com\u{a0}", "it holds the character '\\u{a0}'"),
            ("v=1", "v=1.0", "v=1.0 is not v=1"),
            ("rsa-sha256", "rsa-sha512", "a=rsa-sha512 is no algorithm that verifiers know"),
            ("d=example.com", "d=", "d= is missing"),
            ("d=example.com", "d=example.com.", "d=example.com. ends in a dot"),
            ("d=example.com", "d=exa mple.com", "d=exa mple.com has the character ' '"),
            ("s=s1", "s=s1..x", "s=s1..x has an empty label"),
            ("h=from", "h=fr om", "h= lists \"fr om\", which is no name of a field"),
            ("bh=AAAA", "bh=A-A", "bh=A-A is no base64"),
            ("relaxed/simple", "relaxed/nowsp", "c=relaxed/nowsp is no canonical form that verifiers know"),
            ("b=AA AA", "b=AA AA; q=dns", "q=dns names no way to the key that verifiers know"),
            ("b=AA AA", "b=AA AA; i=a", "i=a holds no @"),
            ("b=AA AA", "b=AA AA; i=@", "i=@ ends in no domain"),
            ("b=AA AA", "b=AA AA; i=@a.test=40.example.com", "i=@a.test=40.example.com ends in no domain"),
            ("b=AA AA", "b=AA AA; t=-1", "t=-1 is no number"),
            ("b=AA AA", "b=AA AA; b=AAAA", "b= stands twice"),
        ] {
            assert_eq!(Signature::read(GOOD.replace(old, new).as_bytes()).unwrap_err(), why);
        }
        assert_eq!(Signature::read(b"\xff").unwrap_err(), "it is not UTF-8");
    }
}
