#![no_main]

libfuzzer_sys::fuzz_target!(|octets: &[u8]| mail_preflight_checks::fuzzing::hold("dns_reply", octets));
