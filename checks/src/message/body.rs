//! What `bh=` is about: the hash of the canonical body, and of each beginning of it that an `l=` names.

use std::collections::{BTreeSet, HashMap};

use mail_auth::{
    common::{
        crypto::{HashContext, HashOutput},
        headers::Writer,
    },
    dkim::{Canonicalization, canonicalize::BodyHasher},
};
use ring::digest::{Context, SHA256};

use crate::net::Deadline;

/// As much is hashed before others have their turn and the clock is looked at.
const CHUNK: usize = 256 * 1024;

/// A body in one canonical form, hashed.
pub(super) struct Body {
    /// How many octets it has in that form.
    pub(super) length: u64,
    whole: Vec<u8>,
    beginnings: HashMap<u64, Vec<u8>>,
}

impl Body {
    /// Reads the body once, however many beginnings are wanted; nothing where the deadline comes first.
    pub(super) async fn hashed(
        body: &[u8],
        form: Canonicalization,
        lengths: &BTreeSet<u64>,
        deadline: Deadline,
    ) -> Option<Self> {
        let digests = Digests {
            context: Context::new(&SHA256),
            length: 0,
            wanted: lengths.iter().rev().copied().collect(),
            taken: HashMap::new(),
        };
        let mut hasher = BodyHasher::new(digests, form, 0);
        for chunk in body.chunks(CHUNK) {
            if deadline.is_over() {
                return None;
            }
            hasher.write(chunk);
            tokio::task::yield_now().await;
        }
        let mut digests = hasher.finish().0;
        // `l=0` of a body that is empty.
        digests.write(b"");
        Some(Self {
            length: digests.length,
            whole: digests.context.finish().as_ref().to_vec(),
            beginnings: digests.taken,
        })
    }

    /// The hash of the first `length` octets, or of all; nothing where there are not so many.
    pub(super) fn hash(&self, length: Option<u64>) -> Option<&[u8]> {
        match length {
            Some(length) => self.beginnings.get(&length).map(Vec::as_slice),
            None => Some(&self.whole),
        }
    }
}

/// A hash that is looked at on the way.
struct Digests {
    context: Context,
    length: u64,
    /// The lengths at which it is to be, the nearest last.
    wanted: Vec<u64>,
    taken: HashMap<u64, Vec<u8>>,
}

impl Writer for Digests {
    fn write(&mut self, text: &[u8]) {
        let mut rest = text;
        while let Some(length) = self.wanted.pop_if(|length| *length - self.length <= rest.len() as u64) {
            let (head, tail) = rest.split_at(usize::try_from(length - self.length).unwrap_or_default());
            self.context.update(head);
            self.taken.insert(length, self.context.clone().finish().as_ref().to_vec());
            (self.length, rest) = (length, tail);
        }
        self.context.update(rest);
        self.length += rest.len() as u64;
    }
}

impl HashContext for Digests {
    fn complete(self) -> HashOutput {
        HashOutput::Digest(self.context.finish())
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use mail_auth::common::headers::Writable;
    use proptest::prelude::*;
    use ring::digest::digest;

    use super::*;

    async fn hashed(body: &[u8], form: Canonicalization, lengths: &[u64]) -> Body {
        let deadline = Deadline::after(Duration::from_secs(60));
        Body::hashed(body, form, &lengths.iter().copied().collect(), deadline).await.unwrap()
    }

    proptest! {
        #[test]
        fn beginnings_hash_as_they_would_alone(body in "[ab \t\r\n]{0,60}", lengths in proptest::collection::vec(0_u64..70, 0..6)) {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
            for form in [Canonicalization::Simple, Canonicalization::Relaxed] {
                let mut text = Vec::new();
                form.canonical_body(body.as_bytes(), 0).write(&mut text);
                let hashed = runtime.block_on(hashed(body.as_bytes(), form, &lengths));
                prop_assert_eq!(hashed.length, text.len() as u64);
                for length in lengths.iter().copied().map(Some).chain([None]) {
                    let end = length.map_or(text.len(), |length| usize::try_from(length).unwrap());
                    let expected = text.get(..end).map(|text| digest(&SHA256, text).as_ref().to_vec());
                    prop_assert_eq!(hashed.hash(length), expected.as_deref());
                }
            }
        }
    }

    #[tokio::test]
    async fn a_body_of_many_chunks_hashes_as_one() {
        let body = "a  line \r\n\r\n of many\t\r\n".repeat(30_000);
        for form in [Canonicalization::Simple, Canonicalization::Relaxed] {
            let mut text = Vec::new();
            form.canonical_body(body.as_bytes(), 0).write(&mut text);
            let hashed = hashed(body.as_bytes(), form, &[CHUNK as u64 + 1]).await;
            assert_eq!(hashed.hash(None).unwrap(), digest(&SHA256, &text).as_ref());
            assert_eq!(hashed.hash(Some(CHUNK as u64 + 1)).unwrap(), digest(&SHA256, &text[..=CHUNK]).as_ref());
        }
    }

    #[tokio::test]
    async fn the_deadline_ends_it() {
        let deadline = Deadline::after(Duration::ZERO);
        assert!(Body::hashed(b"a", Canonicalization::Simple, &BTreeSet::new(), deadline).await.is_none());
    }
}
