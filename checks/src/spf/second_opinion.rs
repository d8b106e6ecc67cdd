//! What mail-auth, a library that receivers run, says about the same sender.
//!
//! It is known to be wrong about some records (it ignores void lookups, a second record, the outer qualifier of nested
//! includes), so it decides nothing: it is a fact beside ours.

use std::{collections::HashSet, net::IpAddr, time::Duration};

use hickory_resolver::{
    Resolver,
    config::{ConnectionConfig, NameServerConfig, ResolveHosts, ResolverConfig, ResolverOpts},
    net::runtime::TokioRuntimeProvider,
    proto::rr::RecordType,
};
use mail_auth::{MessageAuthenticator, Parameters, SpfResult, spf::verify::SpfParameters};

use super::Verdict;
use crate::{
    Name,
    net::dns::{Bridge, Dns},
};

/// What it says, and what it asked.
pub(super) struct Opinion {
    pub(super) verdict: Verdict,
    pub(super) questions: HashSet<(Name, RecordType)>,
}

/// Asks the library, through our own DNS. `None` where it cannot be asked.
pub(super) async fn opinion(dns: &Dns, ip: IpAddr, helo: &str, reverse_path: &str) -> Option<Opinion> {
    let bridge = Bridge::open(dns).await.ok()?;
    let (over_udp, over_tcp) = bridge.addresses().ok()?;
    let (mut udp, mut tcp) = (ConnectionConfig::udp(), ConnectionConfig::tcp());
    (udp.port, tcp.port) = (over_udp.port(), over_tcp.port());
    let server = NameServerConfig::new(over_udp.ip(), true, vec![udp, tcp]);
    let mut options = ResolverOpts::default();
    options.timeout = Duration::from_secs(5);
    options.attempts = 0;
    options.use_hosts_file = ResolveHosts::Never;
    let config = ResolverConfig::from_parts(None, Vec::new(), vec![server]);
    // Without a TLS configuration of its own the resolver would read the system's roots, which nobody needs here.
    let provider = std::sync::Arc::new(rustls::crypto::ring::default_provider());
    let tls = rustls::ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().ok()?;
    let resolver = Resolver::builder_with_config(config, TokioRuntimeProvider::default())
        .with_options(options)
        .with_tls_config(tls.with_root_certificates(rustls::RootCertStore::empty()).with_no_client_auth())
        .build()
        .ok()?;
    let authenticator = MessageAuthenticator(resolver);
    let parameters = SpfParameters::verify_mail_from(ip, helo, "unknown", reverse_path);
    let asking = authenticator.check_host(Parameters::from(parameters));
    let (output, questions) = bridge.while_serving(asking).await;
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
