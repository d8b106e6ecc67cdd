//! Which certification authorities are public: those whose roots Mozilla ships, whoever is trusted here.

use rustls::pki_types::{CertificateDer, TrustAnchor};
use webpki_roots::TLS_SERVER_ROOTS;
use x509_parser::{prelude::FromDer, x509::SubjectPublicKeyInfo};

use super::parsed;

/// Whether `path`, from a server's certificate up, ends at a public root: one of its CAs has such a root's name and key,
/// or the last was signed with one.
pub(super) fn is_public(path: &[CertificateDer<'static>]) -> bool {
    let named = |name: &[u8]| {
        let name = name.to_vec();
        TLS_SERVER_ROOTS.iter().filter(move |root| sequence(&root.subject) == name)
    };
    let is_root = |der: &CertificateDer<'_>| {
        parsed(der).is_ok_and(|certificate| {
            let key = certificate.public_key().raw;
            named(certificate.subject().as_raw()).any(|root| sequence(&root.subject_public_key_info) == key)
        })
    };
    let is_signed = |der: &CertificateDer<'_>| {
        parsed(der).is_ok_and(|certificate| {
            named(certificate.issuer().as_raw()).any(|root: &TrustAnchor<'_>| {
                let key = sequence(&root.subject_public_key_info);
                SubjectPublicKeyInfo::from_der(&key)
                    .is_ok_and(|(_, key)| certificate.verify_signature(Some(&key)).is_ok())
            })
        })
    };
    path.iter().skip(1).any(is_root) || path.last().is_some_and(is_signed)
}

/// What webpki keeps without its tag and its length (X.690 section 8.1).
fn sequence(contents: &[u8]) -> Vec<u8> {
    const SEQUENCE: u8 = 0x30;
    let length = contents.len();
    let mut der = vec![SEQUENCE];
    match u8::try_from(length) {
        Ok(short @ 0..0x80) => der.push(short),
        _ => {
            let octets: Vec<u8> = length.to_be_bytes().into_iter().skip_while(|octet| *octet == 0).collect();
            der.push(0x80 | u8::try_from(octets.len()).unwrap_or(0));
            der.extend(octets);
        }
    }
    der.extend_from_slice(contents);
    der
}

#[cfg(test)]
mod tests {
    use rcgen::{CertificateParams, CustomExtension, KeyPair};
    use x509_parser::prelude::X509Name;

    use super::*;

    #[test]
    fn every_public_root_can_be_read() {
        for root in TLS_SERVER_ROOTS {
            let (name, key) = (sequence(&root.subject), sequence(&root.subject_public_key_info));
            assert!(X509Name::from_der(&name).is_ok_and(|(rest, _)| rest.is_empty()));
            assert!(SubjectPublicKeyInfo::from_der(&key).is_ok_and(|(rest, _)| rest.is_empty()));
        }
    }

    #[test]
    fn a_private_root_is_not_public() {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(["root.test".to_owned()]).unwrap();
        // Longer than 127, and than 255 octets.
        params.custom_extensions = vec![CustomExtension::from_oid_content(&[1, 2, 3], vec![0; 300])];
        let own = params.self_signed(&key).unwrap().der().clone();
        assert!(!is_public(&[own.clone(), own]));
        assert!(!is_public(&[]));
        assert_eq!(sequence(&[7; 300]).get(..4), Some(&[0x30, 0x82, 0x01, 0x2c][..]));
    }
}
