//! `dmarc.message`: what receivers do with the message under the From domain's policy.

use hickory_resolver::proto::rr::RecordType;
use mail_auth::{
    AuthenticatedMessage, DkimOutput, DmarcOutput, DmarcResult, DnsError, Error, MessageAuthenticator, Parameters,
    SpfOutput, SpfResult,
    dmarc::{Policy, verify::DmarcParameters},
};
use syntax::Name;

use super::{
    MOST_SIGNATURES, given, sender,
    verified::{Outcome, Verified, verified},
};
use crate::{Abstain, Context, Finding, Fix, Status, Verdict, net::dns::Bridge};

/// The verdict of `dmarc.message`.
pub(crate) async fn dmarc(cx: &Context) -> Result<Finding, Abstain> {
    let message = given(cx)?;
    let Some(author) = message.author_domain() else {
        let is_nobody = !message.from.iter().any(|address| address.contains('@'));
        return Ok(match is_nobody {
            true => Finding::fail("the message has no address in From")
                .fix(Fix::Advice("Put one address in From (RFC 5322 section 3.6.2)".to_owned())),
            false => {
                Finding::warn("From does not name one domain: receivers apply no policy, and many refuse such mail")
                    .fix(Fix::Advice("Put one address in From".to_owned()))
            }
        });
    };
    Ok(judged(cx, &author).await?.about(&author))
}

async fn judged(cx: &Context, author: &Name) -> Result<Finding, Abstain> {
    let spf = sender::judged(cx).await;
    let verdict = spf.as_ref().map_or(Verdict::None, |spf| spf.evaluation.settled());
    let sent = spf.as_ref().map_or_else(|_| author.to_string(), |spf| spf.domain.clone());
    let Some(output) = output(cx, &sent, verdict).await else {
        return Ok(Finding::unknown("the message could not be judged on this machine: no socket on loopback"));
    };
    let (by_spf, by_dkim) = (output.spf_result(), output.dkim_result());
    let policy = word(output.policy());
    let unjudged = match &spf {
        Ok(_) => unread(cx).await,
        Err(Abstain::NotApplicable(why) | Abstain::Needs(why, _)) => {
            Some(format!("no aligned signature passes, and SPF cannot be judged: {why}"))
        }
        Err(Abstain::Unknown(silence)) => {
            Some(format!("no aligned signature passes, and SPF cannot be judged: {silence}"))
        }
    };
    let enforces = matches!(output.policy(), Policy::Reject | Policy::Quarantine);
    let finding = match output.result() {
        DmarcResult::Pass if *by_dkim == DmarcResult::Pass && *by_spf == DmarcResult::Pass => {
            Finding::pass("passes by DKIM and by SPF")
        }
        DmarcResult::Pass if *by_dkim == DmarcResult::Pass => Finding::pass("passes by DKIM"),
        DmarcResult::Pass if matches!(by_dkim, DmarcResult::TempError(_)) => match enforces {
            true => Finding::unknown("passes by SPF; DNS did not answer what DKIM has to know"),
            false => Finding::pass("passes by SPF; DNS did not answer what DKIM has to know"),
        },
        // A forwarder breaks SPF (RFC 9989 section 7.4).
        DmarcResult::Pass if enforces => {
            Finding::warn(format!("passes by SPF alone: once forwarded, it fails, and the policy is {policy}"))
        }
        DmarcResult::Pass => Finding::pass("passes by SPF alone: once forwarded, it fails"),
        DmarcResult::TempError(_) => Finding::unknown(unjudged_signature(cx).await),
        DmarcResult::None => return Err(Abstain::Needs("a DMARC record".to_owned(), "dmarc.record")),
        DmarcResult::Fail(_) | DmarcResult::PermError(_) => match unjudged {
            Some(why) => Finding::unknown(why),
            None => {
                let what = match output.policy() {
                    Policy::Reject => ": receivers reject it",
                    Policy::Quarantine => ": receivers put it into the junk folder",
                    Policy::None | Policy::Unspecified => "",
                };
                let status = if enforces { Status::Fail } else { Status::Warn };
                Finding::new(status, format!("neither DKIM nor SPF passes aligned (policy {policy}){what}"))
            }
        },
    };
    let name = author.child("_dmarc").ok();
    let record = match &name {
        Some(name) => cx.net.dns.ask(name, RecordType::TXT).await.ok().map(|answer| answer.evidence()),
        None => None,
    };
    let advice = Fix::Advice(format!("Sign with a key of {author} (d={author}), and let the signature verify"));
    let advice = Some(advice).filter(|_| finding.status != Status::Unknown);
    Ok(finding
        .fact("dkim", outcome(by_dkim))
        .fact("spf", outcome(by_spf))
        .fact("policy", policy)
        .saw(record)
        .fix(advice))
}

/// Why DMARC can neither pass nor fail.
async fn unjudged_signature(cx: &Context) -> String {
    let verified = match given(cx) {
        Ok(message) => verified(cx, message).await,
        Err(_) => &[],
    };
    let why = verified.iter().find_map(|verified| match &verified.outcome {
        Outcome::Unjudged(why) => Some(why.clone()),
        _ => None,
    });
    why.unwrap_or_else(|| "DNS did not answer what DMARC has to know".to_owned())
}

/// A signature that was not read, so that nobody knows whether it would have passed.
async fn unread(cx: &Context) -> Option<String> {
    let message = given(cx).ok()?;
    let unread = verified(cx, message).await.iter().find_map(|verified| match (&verified.outcome, &verified.says) {
        (Outcome::Unjudged(why), None) => Some(why.clone()),
        _ => None,
    });
    let surplus = message.signed.saturating_sub(MOST_SIGNATURES);
    let surplus = (surplus > 0).then(|| {
        format!("none of the first {MOST_SIGNATURES} signatures passes aligned, {surplus} more are not judged")
    });
    unread.or(surplus)
}

/// A signature as DMARC counts it: one that verifies, unless its key only tests, or one of which nobody knows.
fn counted(verified: &Verified) -> Option<DkimOutput<'_>> {
    let signature = &verified.says.as_ref()?.signature;
    let output = match verified.outcome {
        Outcome::Verifies { is_testing: false } => DkimOutput::pass(),
        Outcome::Silent | Outcome::Unjudged(_) => DkimOutput::temp_err(Error::Dns(DnsError::Resolver(String::new()))),
        Outcome::Verifies { is_testing: true } | Outcome::Fails { .. } | Outcome::Keyless(_) => return None,
    };
    Some(output.with_signature(signature))
}

/// What mail-auth says, which knows RFC 9989.
async fn output(cx: &Context, sent: &str, verdict: Verdict) -> Option<DmarcOutput> {
    let message = given(cx).ok()?;
    let outputs: Vec<_> = verified(cx, message).await.iter().filter_map(counted).collect();
    let parsed = AuthenticatedMessage { from: message.from.clone(), ..AuthenticatedMessage::default() };
    let result = match verdict {
        Verdict::Pass => SpfResult::Pass,
        Verdict::Fail => SpfResult::Fail,
        Verdict::Softfail => SpfResult::SoftFail,
        Verdict::Neutral => SpfResult::Neutral,
        Verdict::Temperror => SpfResult::TempError,
        Verdict::Permerror => SpfResult::PermError,
        Verdict::None => SpfResult::None,
    };
    let spf = SpfOutput::new(sent.to_owned()).with_result(result);
    let bridge = Bridge::open(&cx.net.dns).await.ok()?;
    let authenticator = MessageAuthenticator(bridge.resolver()?);
    let parameters = DmarcParameters::new(&parsed, &outputs, sent, &spf);
    Some(bridge.while_serving(authenticator.verify_dmarc(Parameters::from(parameters))).await)
}

fn word(policy: Policy) -> &'static str {
    match policy {
        Policy::Reject => "reject",
        Policy::Quarantine => "quarantine",
        Policy::None | Policy::Unspecified => "none",
    }
}

fn outcome(result: &DmarcResult) -> &'static str {
    match result {
        DmarcResult::Pass => "pass",
        DmarcResult::Fail(_) => "fail",
        DmarcResult::TempError(_) => "temperror",
        DmarcResult::PermError(_) => "permerror",
        DmarcResult::None => "none",
    }
}
