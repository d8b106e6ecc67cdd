//! Digests of the server's certificate and of its public key, as Postfix's level `fingerprint` compares them.

use md5::{Digest, Md5};
use ring::digest::{SHA1_FOR_LEGACY_USE_ONLY, SHA256, digest};

use super::{Session, parsed};
use crate::{Algorithm, Fingerprint};

/// What a digest was found to be of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Of {
    Certificate,
    PublicKey,
}

impl Session {
    /// The one of `listed` that is a digest of the server's certificate or of its key, and of which.
    pub(crate) fn fingerprint<'a>(&self, listed: &'a [Fingerprint]) -> Option<(&'a Fingerprint, Of)> {
        listed.iter().find_map(|listed| {
            let [certificate, key] = self.fingerprints(listed.algorithm)?;
            match () {
                () if listed.octets == certificate.octets => Some((listed, Of::Certificate)),
                () if listed.octets == key.octets => Some((listed, Of::PublicKey)),
                () => None,
            }
        })
    }

    /// The digests of the server's certificate and of its SubjectPublicKeyInfo.
    pub(crate) fn fingerprints(&self, algorithm: Algorithm) -> Option<[Fingerprint; 2]> {
        let leaf = self.chain.first()?;
        let certificate = parsed(leaf).ok()?;
        Some([leaf.as_ref(), certificate.public_key().raw].map(|octets| Fingerprint {
            algorithm,
            octets: match algorithm {
                Algorithm::Md5 => Md5::digest(octets).to_vec(),
                Algorithm::Sha1 => digest(&SHA1_FOR_LEGACY_USE_ONLY, octets).as_ref().to_vec(),
                Algorithm::Sha256 => digest(&SHA256, octets).as_ref().to_vec(),
            },
        }))
    }
}
