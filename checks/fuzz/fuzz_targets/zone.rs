#![no_main]

libfuzzer_sys::fuzz_target!(|octets: &[u8]| {
    let _ = mail_preflight_fixtures::dns::read(&String::from_utf8_lossy(octets));
});
