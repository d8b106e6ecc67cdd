//! The program against the servers that others wrote: NSD, Unbound, Postfix and Dovecot on loopback, judged by `dig`,
//! `posttls-finger` and `swaks`.
//!
//! `.ci/real-servers` installs what it needs. The mail servers must be started by root.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that panics has failed")]
#![allow(clippy::indexing_slicing, reason = "a missing member of a JSON value is null")]

use std::{
    fs,
    io::{self, Read, Write},
    os::unix::fs::MetadataExt,
    path::Path,
    process::ExitCode,
    sync::Arc,
};

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use libtest_mimic::{Arguments, Trial, run};
use tempfile::TempDir;

#[path = "support/audit.rs"]
mod audit;
#[path = "real/dane.rs"]
mod dane;
#[path = "real/dns.rs"]
mod dns;
#[path = "support/leaks.rs"]
mod leaks;
#[path = "real/levels.rs"]
mod levels;
#[path = "support/mailservers.rs"]
mod mailservers;
#[path = "support/nameservers.rs"]
mod nameservers;
#[path = "support/pki.rs"]
mod pki;
#[path = "real/relay.rs"]
mod relay;
#[path = "real/sasl.rs"]
mod sasl;
#[path = "support/server.rs"]
mod server;
#[path = "real/tls.rs"]
mod tls;

use mailservers::MailServers;
use nameservers::NameServers;

fn main() -> ExitCode {
    let arguments = Arguments::from_args();
    let scratch = TempDir::new().unwrap();
    match Stage::set(scratch.path()) {
        Ok(stage) => run(&arguments, stage.trials()).exit_code(),
        Err(why) => {
            let _ = writeln!(io::stderr(), "the servers do not start\n{why}");
            ExitCode::FAILURE
        }
    }
}

/// The servers; they run until this is dropped.
struct Stage {
    names: NameServers,
    /// None where we may not start them.
    mail: Option<Arc<MailServers>>,
}

impl Stage {
    fn set(scratch: &Path) -> Result<Self, String> {
        let names = NameServers::open(scratch)?;
        let is_root = fs::metadata(scratch).is_ok_and(|folder| folder.uid() == 0);
        if !is_root {
            let _ = writeln!(io::stderr(), "Postfix and Dovecot DO NOT RUN, and nothing of them is tested: be root");
            return Ok(Self { names, mail: None });
        }
        let mail = MailServers::open(scratch, random())?;
        Ok(Self { names, mail: Some(Arc::new(mail)) })
    }

    fn trials(&self) -> Vec<Trial> {
        let mut trials = dns::trials(&self.names);
        if let Some(mail) = &self.mail {
            trials.extend(relay::trials(mail, self.names.nsd));
            trials.extend(tls::trials(mail, self.names.nsd));
            trials.extend(levels::trials(mail, self.names.nsd));
            trials.extend(dane::trials(mail));
            trials.extend(sasl::trials(mail, self.names.nsd));
        }
        trials
    }
}

/// A password of this run alone, with a blank and a letter that is not ASCII's.
fn random() -> String {
    let mut octets = [0; 18];
    fs::File::open("/dev/urandom").and_then(|mut file| file.read_exact(&mut octets)).unwrap();
    format!("{} \u{fc}", URL_SAFE_NO_PAD.encode(octets))
}
