//! What mail-auth, a library that receivers run, says about a sender.
//!
//! It is known to be wrong about some records (it ignores void lookups, a second record, the outer qualifier of nested
//! includes), so it decides nothing: it is there to be compared with.

use mail_auth::{MessageAuthenticator, Parameters, SpfResult, spf::verify::SpfParameters};
use tokio::time::timeout_at;

use crate::{
    Sender, Verdict,
    net::dns::{Bridge, Dns},
};

/// The SPF result of mail-auth for `sender`, asked through `dns`. `None` where it cannot be asked, or has not answered
/// in time.
pub async fn second_opinion(dns: &Dns, sender: &Sender) -> Option<Verdict> {
    let bridge = Bridge::open(dns).await.ok()?;
    let authenticator = MessageAuthenticator(bridge.resolver()?);
    let (ip, helo, reverse_path) = sender.identities();
    let parameters = SpfParameters::verify_mail_from(ip, &helo, "unknown", &reverse_path);
    let asking = authenticator.check_host(Parameters::from(parameters));
    let output = timeout_at(dns.deadline().overdue(), bridge.while_serving(asking)).await.ok()?;
    Some(match output.result() {
        SpfResult::Pass => Verdict::Pass,
        SpfResult::Fail => Verdict::Fail,
        SpfResult::SoftFail => Verdict::Softfail,
        SpfResult::Neutral => Verdict::Neutral,
        SpfResult::TempError => Verdict::Temperror,
        SpfResult::PermError => Verdict::Permerror,
        SpfResult::None => Verdict::None,
    })
}
