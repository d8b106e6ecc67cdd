//! `spf.message`: whether the outgoing address may send with the reverse-path that the message had.

use std::net::IpAddr;

use hickory_resolver::proto::rr::RecordType;
use syntax::Name;

use super::given;
use crate::{Abstain, Context, Evaluation, Evidence, Finding, Fix, Sender, Status, Verdict, check_host};

/// The SPF result of the message, and whom it is about.
pub(super) struct Judged {
    /// The domain that SPF was asked about.
    pub(super) domain: String,
    pub(super) evaluation: Evaluation,
    address: IpAddr,
}

/// What SPF says about the first outgoing address and the message's reverse-path.
pub(super) async fn judged(cx: &Context) -> Result<Judged, Abstain> {
    let message = given(cx)?;
    let nowhere = |reason: &str| Abstain::NotApplicable(reason.to_owned());
    let address = match cx.named_addresses().next() {
        Some(address) => address,
        None if cx.target.is_relayed() => {
            return Err(nowhere("receivers see the relay's address, name it with --ip"));
        }
        None => first_address(cx).await?,
    };
    let reverse_path = match &message.return_path {
        Some(path) => path.clone(),
        None => match cx.target.mail_from.clone().or_else(|| message.author_domain()) {
            Some(domain) => format!("postmaster@{domain}"),
            None => return Err(nowhere("the message has neither Return-Path nor one From domain")),
        },
    };
    let sent = reverse_path.rsplit_once('@').map(|(_, domain)| domain.to_ascii_lowercase());
    // A bounce has no reverse-path; the EHLO name stands for it (RFC 7208 section 2.4).
    let helo = cx.target.hostname.as_ref().map(Name::to_string).or_else(|| sent.clone());
    let helo = helo.ok_or_else(|| nowhere("the reverse-path is empty, and no HOSTNAME given"))?;
    let sender = Sender::new(address, &helo, &reverse_path, cx.now);
    let evaluation = check_host(&cx.net.dns, &sender).await;
    Ok(Judged { domain: sent.unwrap_or(helo), evaluation, address })
}

async fn first_address(cx: &Context) -> Result<IpAddr, Abstain> {
    let outgoing = cx.outgoing().await;
    match (outgoing.addresses.first(), outgoing.silences.into_iter().next()) {
        (Some(address), _) => Ok(*address),
        (None, Some((_, silence))) => Err(silence.into()),
        (None, None) => Err(Abstain::NotApplicable("no outgoing address known, name it with --ip".to_owned())),
    }
}

/// The verdict of `spf.message`.
pub(crate) async fn spf(cx: &Context) -> Result<Finding, Abstain> {
    let Judged { domain, evaluation, address } = judged(cx).await?;
    let sentence = format!("{} from {address} ({}){}", evaluation.verdict, evaluation.because(), evaluation.caveat());
    let name: Option<Name> = domain.parse().ok();
    let is_ours = name.as_ref().is_some_and(|name| cx.target.mail_from_domains().contains(name));
    let status = match evaluation.settled() {
        Verdict::None if is_ours => {
            return Ok(Finding::from(Abstain::Needs("one SPF record".to_owned(), "spf.record")).about(domain));
        }
        Verdict::Pass => Status::Pass,
        Verdict::Softfail | Verdict::Neutral => Status::Warn,
        Verdict::None | Verdict::Fail | Verdict::Permerror => Status::Fail,
        Verdict::Temperror => Status::Unknown,
    };
    let mut finding = Finding::new(status, sentence);
    finding.facts = evaluation.facts();
    let record = match &name {
        Some(name) => cx
            .net
            .dns
            .ask(name, RecordType::TXT)
            .await
            .map_or_else(|silence| silence.evidence(), |answer| answer.evidence()),
        None => Evidence { command: format!("dig +short {} TXT", syntax::shell::dug(&domain)), output: String::new() },
    };
    let advice = Fix::Advice(format!(
        "Let the record of {domain} name {address}, or send with a reverse-path of a domain whose record does"
    ));
    let advice = Some(advice).filter(|_| status != Status::Unknown);
    Ok(finding.fact("address", address.to_string()).saw([record]).fix(advice).about(domain))
}
