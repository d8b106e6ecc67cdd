//! Whatever a TXT record holds, the parser ends with a record or with a position inside the text.

#![no_main]

use libfuzzer_sys::fuzz_target;
use mail_preflight_checks::SpfRecord;

fuzz_target!(|octets: &[u8]| {
    let text = [b"v=spf1 ".as_slice(), octets].concat();
    if let Err(error) = SpfRecord::parse(&text) {
        assert!((1..=text.len()).contains(&error.position), "{error}");
    }
});
