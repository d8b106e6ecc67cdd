//! The doors of `checks/fuzz`: whatever a stranger writes in one of these grammars, nothing panics, and what must hold holds.

use syntax::spf::Record;

use crate::{bimi, dkim, dmarc, message, mta_sts, net, tls_rpt};

/// A grammar: its name, which is that of its target and of the folder of its seeds, and what tries one text.
type Grammar = (&'static str, fn(&[u8]));

/// Every grammar of this crate that is fuzzed.
const GRAMMARS: [Grammar; 12] = [
    ("spf", spf),
    ("dkim_key", dkim::fuzz),
    ("dkim_signature", message::fuzz_field),
    ("message", message::fuzz),
    ("dmarc", dmarc::fuzz),
    ("mta_sts_record", |octets| mta_sts::fuzz_record(&text(octets))),
    ("mta_sts_policy", mta_sts::fuzz_policy),
    ("tls_rpt", |octets| tls_rpt::fuzz(&text(octets))),
    ("bimi", |octets| bimi::fuzz(&text(octets))),
    ("tlsa", net::dns::fuzz_tlsa),
    ("dns_reply", net::dns::fuzz),
    ("smtp_reply", smtp_reply),
];

/// Tries one text in the grammar of this name.
///
/// # Panics
/// Something does not hold, or there is no such grammar.
pub fn hold(name: &str, octets: &[u8]) {
    let grammar = GRAMMARS.iter().find(|(known, _)| *known == name);
    assert!(grammar.is_some(), "no grammar {name}");
    grammar.into_iter().for_each(|(_, hold)| hold(octets));
}

/// A record as the checks read it.
fn text(octets: &[u8]) -> String {
    String::from_utf8_lossy(octets).into_owned()
}

fn spf(octets: &[u8]) {
    for text in [octets.to_vec(), [b"v=spf1 ", octets].concat()] {
        if let Err(error) = Record::parse(&text) {
            assert!((1..=text.len().max(1)).contains(&error.position), "{error}");
        }
    }
}

fn smtp_reply(octets: &[u8]) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build();
    if let Ok(runtime) = runtime {
        runtime.block_on(net::smtp::fuzz(octets));
    }
}

#[cfg(test)]
mod tests {
    use std::{fs, path::Path};

    use super::*;

    /// The seeds of the fuzzer, each whole, cut anywhere, and with any octet changed.
    #[test]
    fn seeds_and_their_neighbours_hold() {
        for (name, grammar) in GRAMMARS {
            let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/seeds").join(name);
            let files: Vec<_> = fs::read_dir(&folder).expect(name).map(|file| file.unwrap().path()).collect();
            assert!(!files.is_empty(), "{name} has no seeds");
            for file in files {
                let seed = fs::read(file).unwrap();
                grammar(&seed);
                for at in (0..seed.len()).step_by(1 + seed.len() / 32) {
                    grammar(&seed[..at]);
                    let mut changed = seed.clone();
                    changed[at] = changed[at].wrapping_add(1);
                    grammar(&changed);
                }
            }
        }
    }
}
