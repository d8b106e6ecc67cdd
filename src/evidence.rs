//! Files that prove something about the signer: private keys, of which only the public half leaves here, and a message.

use std::path::{Path, PathBuf};

use anyhow::{Context, bail, ensure};
use asn1_rs::{Any, FromDer, Tag};
use base64::{Engine, engine::general_purpose::STANDARD};
use checks::{
    Message, PublicKey, Selector, SignerKey,
    file::{self, Extent},
    net::Deadline,
};
use ring::signature::{Ed25519KeyPair, KeyPair};
use zeroize::Zeroizing;

/// Far more than the longest key has, far less than /dev/zero.
const LONGEST_KEY: usize = 65_536;

/// What large receivers take, as a message.
const LONGEST_MESSAGE: usize = 50 * 1024 * 1024;

/// rsaEncryption (RFC 8017 appendix A.1), as DER has it.
const RSA: [u8; 9] = [0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 1, 1];

/// id-Ed25519 (RFC 8410 section 3).
const ED25519: [u8; 3] = [0x2b, 0x65, 0x70];

/// The public halves of the typed keys.
pub(crate) fn signer_keys(typed: Vec<(Selector, PathBuf)>, deadline: Deadline) -> anyhow::Result<Vec<SignerKey>> {
    let mut keys: Vec<SignerKey> = Vec::new();
    for (selector, path) in typed {
        let file = path.display().to_string();
        let twice = keys.iter().any(|known| known.selector == selector);
        ensure!(!twice, "--dkim-key: the selector {} stands twice", selector.name);
        let public = public_half(&path, deadline).with_context(|| format!("--dkim-key {file}"))?;
        keys.push(SignerKey { selector, file, public });
    }
    Ok(keys)
}

/// The message to judge.
pub(crate) fn message(file: &Path, deadline: Deadline) -> anyhow::Result<Message> {
    let place = || format!("--message {}", file.display());
    let octets = match file.as_os_str() == "-" {
        true => file::standard_input(LONGEST_MESSAGE, deadline),
        false => file::read(file, LONGEST_MESSAGE, Extent::Whole, deadline),
    };
    let octets = octets.with_context(place)?;
    Message::read(&file.display().to_string(), &octets).map_err(anyhow::Error::msg).with_context(place)
}

fn public_half(file: &Path, deadline: Deadline) -> anyhow::Result<PublicKey> {
    let octets = file::read(file, LONGEST_KEY, Extent::Whole, deadline)?;
    let Ok(text) = std::str::from_utf8(&octets) else { bail!("is not text, expected a private key in PEM") };
    of_pem(text)
}

/// Reads the first private key of a PEM file (RFC 7468, and PKCS #1 as OpenSSL writes it).
fn of_pem(text: &str) -> anyhow::Result<PublicKey> {
    let labels: Vec<&str> = text.lines().filter_map(begun).collect();
    let Some(label) = labels.iter().find(|label| label.ends_with("PRIVATE KEY")) else {
        match labels.first() {
            Some(other) => bail!("holds {:?}, expected a private key", shown(other)),
            None => bail!("holds no PEM, expected -----BEGIN PRIVATE KEY-----"),
        }
    };
    match *label {
        "PRIVATE KEY" | "RSA PRIVATE KEY" => {}
        "ENCRYPTED PRIVATE KEY" => bail!("holds an encrypted private key, expected one that a signer can read"),
        other => bail!("holds {:?}, expected an RSA or Ed25519 key as PKCS #1 or PKCS #8", shown(other)),
    }
    let inside = text.lines().skip_while(|line| begun(line) != Some(label)).skip(1);
    let mut encoded = Zeroizing::new(String::with_capacity(text.len()));
    for line in inside.take_while(|line| !line.starts_with("-----END")) {
        ensure!(!line.contains("ENCRYPTED"), "holds an encrypted private key, expected one that a signer can read");
        encoded.push_str(line.trim());
    }
    // What the decoder would say about an octet is about the key.
    let decoded = STANDARD.decode(encoded.as_bytes()).ok();
    let der = Zeroizing::new(decoded.context("holds a private key whose base64 is broken")?);
    let public = if *label == "RSA PRIVATE KEY" { of_pkcs1(&der) } else { of_pkcs8(&der)? };
    public.with_context(|| format!("holds {label:?}, whose content is none"))
}

/// The label of a line `-----BEGIN LABEL-----`.
fn begun(line: &str) -> Option<&str> {
    line.trim_end().strip_prefix("-----BEGIN ")?.strip_suffix("-----")
}

/// A label as it may stand in a complaint: a file can hold anything.
fn shown(label: &str) -> String {
    label.chars().take(40).collect()
}

/// `RSAPrivateKey` (RFC 8017 appendix A.1.2): of its numbers the second and the third are public.
fn of_pkcs1(der: &[u8]) -> Option<PublicKey> {
    match sequence(der)?.as_slice() {
        [(Tag::Integer, _), (Tag::Integer, modulus), (Tag::Integer, exponent), ..] => {
            Some(PublicKey::rsa(modulus, exponent))
        }
        _ => None,
    }
}

/// `OneAsymmetricKey` (RFC 5958 section 2).
fn of_pkcs8(der: &[u8]) -> anyhow::Result<Option<PublicKey>> {
    let Some(elements) = sequence(der) else { return Ok(None) };
    let [(Tag::Integer, _), (Tag::Sequence, algorithm), (Tag::OctetString, key), ..] = elements.as_slice() else {
        return Ok(None);
    };
    match children(algorithm).as_deref() {
        Some([(Tag::Oid, oid), ..]) if **oid == RSA => Ok(of_pkcs1(key)),
        Some([(Tag::Oid, oid), ..]) if **oid == ED25519 => Ok(of_ed25519(der)),
        _ => bail!("holds a key that is neither RSA nor Ed25519: DKIM knows no other"),
    }
}

fn of_ed25519(der: &[u8]) -> Option<PublicKey> {
    let pair = Ed25519KeyPair::from_pkcs8_maybe_unchecked(der).ok()?;
    pair.public_key().as_ref().try_into().ok().map(PublicKey::Ed25519)
}

/// What a DER sequence holds, and nothing behind it.
fn sequence(der: &[u8]) -> Option<Vec<(Tag, &[u8])>> {
    match children(der)?.as_slice() {
        [(Tag::Sequence, inside)] => children(inside),
        _ => None,
    }
}

fn children(mut der: &[u8]) -> Option<Vec<(Tag, &[u8])>> {
    let mut elements = Vec::new();
    while !der.is_empty() {
        let (rest, element) = Any::from_der(der).ok()?;
        elements.push((element.tag(), element.data));
        der = rest;
    }
    Some(elements)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pem(label: &str, der: &[u8]) -> String {
        format!("-----BEGIN {label}-----\n{}\n-----END {label}-----\n", STANDARD.encode(der))
    }

    fn element(tag: u8, content: &[u8]) -> Vec<u8> {
        [&[tag, 0x82][..], &u16::try_from(content.len()).unwrap().to_be_bytes(), content].concat()
    }

    fn complaint(text: &str) -> String {
        format!("{:#}", of_pem(text).unwrap_err())
    }

    /// A 1024-bit modulus, which ring refuses to load; the private numbers are not looked at.
    #[test]
    fn rsa_keys_of_any_size_as_pkcs1_and_pkcs8() {
        let modulus = [&[0][..], &[0xa5; 128]].concat();
        let numbers = [&[2, 1, 0][..], &[2, 0x81, 129], &modulus, &[2, 3, 1, 0, 1], &[2, 1, 5]].concat();
        let numbers = [&[0x30, 0x81, u8::try_from(numbers.len()).unwrap()][..], &numbers].concat();
        let expected = PublicKey::rsa(&modulus, &[1, 0, 1]);
        assert_eq!(of_pem(&pem("RSA PRIVATE KEY", &numbers)).unwrap(), expected);
        let algorithm = [&[0x30, 13, 6, 9][..], &RSA, &[5, 0]].concat();
        let key = [&[4, 0x81, u8::try_from(numbers.len()).unwrap()][..], &numbers].concat();
        let inside = [&[2, 1, 0][..], &algorithm, &key].concat();
        let pkcs8 = [&[0x30, 0x81, u8::try_from(inside.len()).unwrap()][..], &inside].concat();
        assert_eq!(of_pem(&pem("PRIVATE KEY", &pkcs8)).unwrap(), expected);
        assert_ne!(expected, PublicKey::rsa(&[0xa5; 127], &[1, 0, 1]));
    }

    /// The key pair of RFC 8032 section 7.1, test 1.
    #[test]
    fn ed25519_keys_as_pkcs8() {
        let seed = "9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60";
        let public = "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a";
        let octets = |hex: &str| -> Vec<u8> {
            (0..hex.len()).step_by(2).map(|at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap()).collect()
        };
        let der =
            [&[0x30, 0x2e, 2, 1, 0, 0x30, 5, 6, 3, 0x2b, 0x65, 0x70, 4, 0x22, 4, 0x20][..], &octets(seed)].concat();
        let expected = PublicKey::Ed25519(octets(public).try_into().unwrap());
        assert_eq!(of_pem(&pem("PRIVATE KEY", &der)).unwrap(), expected);
    }

    #[test]
    fn what_is_no_private_key_is_named() {
        let ec =
            [&[0x30, 0x13, 2, 1, 0, 0x30, 9, 6, 7, 0x2a, 0x86, 0x48, 0xce, 0x3d, 2, 1, 4, 3, 1, 2, 3][..]].concat();
        for (text, why) in [
            (String::new(), "holds no PEM"),
            (pem("PUBLIC KEY", b"abc"), "holds \"PUBLIC KEY\", expected a private key"),
            (pem("ENCRYPTED PRIVATE KEY", b"abc"), "holds an encrypted private key"),
            (pem("OPENSSH PRIVATE KEY", b"abc"), "holds \"OPENSSH PRIVATE KEY\", expected an RSA or Ed25519 key"),
            (pem("PRIVATE KEY", b"abc"), "holds \"PRIVATE KEY\", whose content is none"),
            (pem("PRIVATE KEY", &element(0x30, &[])), "whose content is none"),
            (pem("RSA PRIVATE KEY", &ec), "whose content is none"),
            (
                "-----BEGIN RSA PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\n\nAAAA\n".to_owned(),
                "an encrypted private key",
            ),
            ("-----BEGIN PRIVATE KEY-----\nsecret!\n-----END PRIVATE KEY-----\n".to_owned(), "base64 is broken"),
        ] {
            let complaint = complaint(&text);
            assert!(complaint.contains(why) && !complaint.contains("secret"), "{text}: {complaint}");
        }
    }
}
