#![no_main]

libfuzzer_sys::fuzz_target!(|octets: &[u8]| mail_preflight_checks::fuzzing::hold("mta_sts_policy", octets));
