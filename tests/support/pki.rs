//! Certificates made on the spot with `openssl`: a root, an intermediate, and servers' own with one fault each.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use crate::server::output;

/// Whom most of the certificates are for.
pub(crate) const RELAY: &str = "relay.example.test";

/// Who signs: `openssl ca` wants a database, extensions stand in sections.
const CONFIGURATION: &str = "
[req]
distinguished_name = dn
[dn]
[ca]
default_ca = authority
[authority]
database = index.txt
new_certs_dir = .
rand_serial = yes
unique_subject = no
default_md = sha256
policy = anybody
[anybody]
commonName = supplied
[authority_of_others]
basicConstraints = critical, CA:TRUE
keyUsage = critical, keyCertSign, cRLSign
subjectKeyIdentifier = hash
[server]
basicConstraints = CA:FALSE
extendedKeyUsage = serverAuth
authorityKeyIdentifier = keyid
subjectAltName = DNS:relay.example.test
[wildcard]
basicConstraints = CA:FALSE
subjectAltName = DNS:*.example.test
[next_hop]
basicConstraints = CA:FALSE
subjectAltName = DNS:mail.outgoing.example.test
[misnamed]
basicConstraints = CA:FALSE
extendedKeyUsage = serverAuth
subjectAltName = DNS:other.example.test, DNS:another.example.test
[nameless]
basicConstraints = CA:FALSE
extendedKeyUsage = serverAuth
[client]
basicConstraints = CA:FALSE
extendedKeyUsage = clientAuth
subjectAltName = DNS:relay.example.test
";

const ECDSA: &[&str] = &["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1"];
const P384: &[&str] = &["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:secp384r1"];
const P521: &[&str] = &["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:secp521r1"];
const RSA: &[&str] = &["-newkey", "rsa:2048"];
const RSA_4096: &[&str] = &["-newkey", "rsa:4096"];
const RSA_1024: &[&str] = &["-newkey", "rsa:1024"];
const ED25519: &[&str] = &["-newkey", "ed25519"];

const VALID: &[&str] = &["-days", "90"];
const LONG_VALID: &[&str] = &["-days", "3650"];
const EXPIRED: &[&str] = &["-startdate", "20240101000000Z", "-enddate", "20240401000000Z"];
const NOT_YET_VALID: &[&str] = &["-startdate", "20550101000000Z", "-enddate", "20550401000000Z"];
const SHA1: &[&str] = &["-days", "90", "-md", "sha1"];

/// Name, key, section of extensions, dates, signer, and the certificates that the server sends behind its own.
type Certificate = (
    &'static str,
    &'static [&'static str],
    &'static str,
    &'static [&'static str],
    &'static str,
    &'static [&'static str],
);

#[rustfmt::skip]
const CERTIFICATES: &[Certificate] = &[
    ("intermediate",         ECDSA,    "authority_of_others", LONG_VALID, "root",  &[]),
    ("rsa-intermediate",     RSA,      "authority_of_others", LONG_VALID, "root",  &[]),
    ("expired-intermediate", ECDSA,    "authority_of_others", EXPIRED,    "root",  &[]),
    ("trusted",              ECDSA,    "server",   VALID,         "intermediate",  &["intermediate"]),
    ("rsa",                  RSA,      "server",   VALID,         "intermediate",  &["intermediate"]),
    ("rsa-1024",             RSA_1024, "server",   VALID,         "intermediate",  &["intermediate"]),
    ("p384",                 P384,     "server",   VALID,         "intermediate",  &["intermediate"]),
    ("rsa-4096",             RSA_4096, "server",   VALID,         "intermediate",  &["intermediate"]),
    ("p521",                 P521,     "server",   VALID,         "intermediate",  &["intermediate"]),
    ("ecdsa-sha1",           ECDSA,    "server",   SHA1,          "intermediate",  &["intermediate"]),
    ("ed25519",              ED25519,  "server",   VALID,         "intermediate",  &["intermediate"]),
    ("directly",             ECDSA,    "server",   VALID,         "root",          &[]),
    ("with-root",            ECDSA,    "server",   VALID,         "intermediate",  &["intermediate", "root"]),
    ("expired",              ECDSA,    "server",   EXPIRED,       "intermediate",  &["intermediate"]),
    ("not-yet-valid",        ECDSA,    "server",   NOT_YET_VALID, "intermediate",  &["intermediate"]),
    ("wrong-name",           ECDSA,    "misnamed", VALID,         "intermediate",  &["intermediate"]),
    ("expired-wrong-name",   ECDSA,    "misnamed", EXPIRED,       "intermediate",  &["intermediate"]),
    ("incomplete",           ECDSA,    "server",   VALID,         "intermediate",  &[]),
    ("incomplete-expired",   ECDSA,    "server",   EXPIRED,       "intermediate",  &[]),
    ("expired-issuer",       ECDSA,    "server",   VALID,  "expired-intermediate", &["expired-intermediate"]),
    ("unknown-root",         ECDSA,    "server",   VALID,         "stranger",      &["stranger"]),
    ("cn-only",              ECDSA,    "nameless", VALID,         "intermediate",  &["intermediate"]),
    ("wildcard",             ECDSA,    "wildcard", VALID,         "intermediate",  &["intermediate"]),
    ("next-hop",             ECDSA,    "next_hop", VALID,         "intermediate",  &["intermediate"]),
    ("for-clients",          ECDSA,    "client",   VALID,         "intermediate",  &["intermediate"]),
    ("sha1",                 ECDSA,    "server",   SHA1,      "rsa-intermediate",  &["rsa-intermediate"]),
];

/// Where the certificates are.
pub(crate) struct Pki {
    folder: PathBuf,
}

impl Pki {
    pub(crate) fn made(scratch: &Path) -> Result<Self, String> {
        let folder = scratch.join("pki");
        fs::create_dir(&folder).map_err(|error| error.to_string())?;
        let pki = Self { folder };
        pki.write("ca.conf", CONFIGURATION)?;
        pki.write("index.txt", "")?;
        pki.sign_itself("root", ECDSA, &["-config", "ca.conf", "-extensions", "authority_of_others"], "/CN=Test Root")?;
        pki.sign_itself(
            "stranger",
            ECDSA,
            &["-config", "ca.conf", "-extensions", "authority_of_others"],
            "/CN=Stranger",
        )?;
        // As people do it: Debian's openssl.cnf makes it a CA's.
        let names = format!("subjectAltName=DNS:{RELAY}");
        pki.sign_itself("self-signed", RSA, &["-addext", &names], &format!("/CN={RELAY}"))?;
        pki.bundle("self-signed", &[])?;
        for certificate in CERTIFICATES {
            pki.issue(certificate)?;
        }
        Ok(pki)
    }

    /// The trust anchor.
    pub(crate) fn root(&self) -> String {
        self.path("root.pem")
    }

    /// The key and the chain that a server sends, in one file, as `smtpd_tls_chain_files` wants it.
    pub(crate) fn bundle_of(&self, name: &str) -> String {
        self.path(&format!("{name}.bundle"))
    }

    fn issue(&self, (name, key, section, dates, signer, sent): &Certificate) -> Result<(), String> {
        let (key_file, request, certificate) = (format!("{name}.key"), format!("{name}.csr"), format!("{name}.pem"));
        let common_name = match *section {
            "authority_of_others" => format!("/CN=Test {name}"),
            "misnamed" => "/CN=other.example.test".to_owned(),
            _ => format!("/CN={RELAY}"),
        };
        let asked = ["req", "-config", "ca.conf", "-new", "-nodes", "-subj", &common_name];
        self.openssl(&[&asked, *key, &["-keyout", &key_file, "-out", &request]].concat())?;
        let (cert, keyfile) = (format!("{signer}.pem"), format!("{signer}.key"));
        let signed = ["ca", "-batch", "-notext", "-config", "ca.conf", "-cert", &cert, "-keyfile", &keyfile];
        let files = ["-extensions", section, "-in", &request, "-out", &certificate];
        self.openssl(&[&signed, &files[..], *dates].concat())?;
        self.bundle(name, sent)
    }

    fn sign_itself(&self, name: &str, key: &[&str], how: &[&str], subject: &str) -> Result<(), String> {
        let (key_file, certificate) = (format!("{name}.key"), format!("{name}.pem"));
        let words = ["req", "-x509", "-nodes", "-days", "3650", "-subj", subject];
        self.openssl(&[&words, key, how, &["-keyout", &key_file, "-out", &certificate]].concat())
    }

    fn bundle(&self, name: &str, sent: &[&str]) -> Result<(), String> {
        let mut files = vec![format!("{name}.key"), format!("{name}.pem")];
        files.extend(sent.iter().map(|certificate| format!("{certificate}.pem")));
        let parts: Result<Vec<String>, _> =
            files.iter().map(|file| fs::read_to_string(self.folder.join(file))).collect();
        self.write(&format!("{name}.bundle"), &parts.map_err(|error| format!("{name}: {error}"))?.concat())
    }

    fn openssl(&self, words: &[&str]) -> Result<(), String> {
        let ran = output(Command::new("openssl").args(words).current_dir(&self.folder));
        let ran = ran.map_err(|error| format!("openssl: {error}"))?;
        match ran.status.success() {
            true => Ok(()),
            false => Err(format!("openssl {}: {}", words.join(" "), String::from_utf8_lossy(&ran.stderr))),
        }
    }

    fn write(&self, file: &str, text: &str) -> Result<(), String> {
        fs::write(self.folder.join(file), text).map_err(|error| format!("{file}: {error}"))
    }

    fn path(&self, file: &str) -> String {
        self.folder.join(file).display().to_string()
    }
}
