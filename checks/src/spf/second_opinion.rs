//! What mail-auth, a library that receivers run, says about the same sender.
//!
//! It is known to be wrong about some records (it ignores void lookups, a second record, the outer qualifier of nested
//! includes), so it decides nothing: it is a fact beside ours.

use std::{collections::HashSet, net::IpAddr};

use hickory_resolver::proto::rr::RecordType;
use mail_auth::{MessageAuthenticator, Parameters, SpfResult, spf::verify::SpfParameters};
use syntax::Name;
use tokio::time::timeout_at;

use super::Verdict;
use crate::net::dns::{Bridge, Dns};

/// What it says, and what it asked.
pub(super) struct Opinion {
    pub(super) verdict: Verdict,
    pub(super) questions: HashSet<(Name, RecordType)>,
}

/// Asks the library, through our own DNS. `None` where it cannot be asked, or has not answered in time.
pub(super) async fn opinion(dns: &Dns, ip: IpAddr, helo: &str, reverse_path: &str) -> Option<Opinion> {
    let bridge = Bridge::open(dns).await.ok()?;
    let authenticator = MessageAuthenticator(bridge.resolver()?);
    let parameters = SpfParameters::verify_mail_from(ip, helo, "unknown", reverse_path);
    let asking = authenticator.check_host(Parameters::from(parameters));
    let (output, questions) = timeout_at(dns.deadline().overdue(), bridge.while_serving(asking)).await.ok()?;
    let verdict = match output.result() {
        SpfResult::Pass => Verdict::Pass,
        SpfResult::Fail => Verdict::Fail,
        SpfResult::SoftFail => Verdict::Softfail,
        SpfResult::Neutral => Verdict::Neutral,
        SpfResult::TempError => Verdict::Temperror,
        SpfResult::PermError => Verdict::Permerror,
        SpfResult::None => Verdict::None,
    };
    Some(Opinion { verdict, questions })
}
