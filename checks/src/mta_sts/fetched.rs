//! Whether what came of fetching the policy is something that senders take.

use syntax::{Protocols, address::Family, text::grouped, text::timestamp};

use crate::{
    Abstain, Context, Finding, Fix,
    net::{
        https::{Fetch, LARGEST_BODY, Obstacle, Response, words},
        smtp::{Cause, Loss, Lost},
        tls::{Fault, Refusal, Session},
    },
};

/// Names that are shown of a certificate that is for others.
const MOST_NAMES: usize = 5;

/// The verdict on fetching.
pub(super) fn judged(cx: &Context, fetch: &Fetch) -> Finding {
    let response = match response(cx, fetch) {
        Ok(response) => response,
        Err(finding) => return *finding,
    };
    let message = format!("{}, {} octets of text/plain", response.status_line, response.body.len());
    let finding = match (fetch.misses.iter().find(|(_, cause)| is_theirs(cause)), &fetch.session) {
        (Some((address, cause)), _) => Finding::warn(format!("{message}, but not from {address}: {}", words(cause)))
            .fix(advice("Publish only addresses at which the web server answers")),
        (None, Some(session)) => match expiring(cx, session) {
            Some(soon) => Finding::warn(format!("{message}; {soon}")).fix(advice("Renew the web server's certificate")),
            None => Finding::pass(message),
        },
        (None, None) => Finding::pass(message),
    };
    let finding = finding.fact("status", response.status).fact("octets", response.body.len());
    match &fetch.session {
        Some(session) => finding.fact("not_after", timestamp(session.not_after)),
        None => finding,
    }
}

/// The answer, if senders take it for the policy.
pub(super) fn response<'a>(cx: &Context, fetch: &'a Fetch) -> Result<&'a Response, Box<Finding>> {
    let response = fetch.outcome.as_ref().map_err(|obstacle| Box::new(unfetched(cx, fetch, obstacle)))?;
    match unacceptable(response, &fetch.url) {
        None => Ok(response),
        Some(finding) => Err(Box::new(finding.fact("status", response.status))),
    }
}

fn unacceptable(response: &Response, url: &str) -> Option<Finding> {
    let line = &response.status_line;
    let encoding = response.encoding.as_deref().filter(|encoding| !encoding.eq_ignore_ascii_case("identity"));
    let finding = match response.status {
        200 if encoding.is_some() => {
            Finding::fail(format!("sent as {}, which nobody asked for", encoding.unwrap_or_default()))
                .fix(advice("Let the web server send the policy as it is to whoever sends no Accept-Encoding"))
        }
        200 => return mistyped(response.content_type.as_deref()),
        300..400 => {
            let to = response.location.as_deref().map(|to| format!(" to {to}")).unwrap_or_default();
            Finding::fail(format!("{line}{to}: senders follow no redirects"))
                .fix(advice("Let the web server answer with the policy itself, status 200"))
        }
        // The server's trouble may pass: RFC 9110 section 15.6, and 408, 425 and 429.
        408 | 425 | 429 | 500.. => Finding::unknown(format!("{line}, perhaps for a while only"))
            .fix(advice("Look into the log of the web server, and ask again")),
        _ => Finding::fail(format!("{line}, 200 is due: a record without a policy"))
            .fix(advice(&format!("Put the policy where {url} is, or take the TXT record out of the zone"))),
    };
    Some(finding)
}

/// "Senders SHOULD validate that the media type is text/plain" (RFC 8461 section 3.2); what those who do find otherwise
/// is no policy to them.
fn mistyped(content_type: Option<&str>) -> Option<Finding> {
    let media = content_type.map(|value| value.split(';').next().unwrap_or(value).trim());
    let served = match media {
        Some(media) if media.eq_ignore_ascii_case("text/plain") => return None,
        Some(media) => format!("as {media}"),
        None => "without Content-Type".to_owned(),
    };
    let finding = Finding::fail(format!("served {served}, text/plain is due: senders that look do not take it"));
    Some(finding.fix(advice("Let the web server send Content-Type: text/plain with the policy")))
}

fn unfetched(cx: &Context, fetch: &Fetch, obstacle: &Obstacle) -> Finding {
    match obstacle {
        Obstacle::Nowhere(lost) => nowhere(cx, lost),
        Obstacle::Unconnected => unconnected(fetch),
        Obstacle::NoTls(refusal @ Refusal::Ours(_)) => Finding::unknown(format!("no TLS handshake: {refusal}"))
            .fix(advice("Look with curl or openssl s_client, which have more ciphers")),
        Obstacle::NoTls(refusal) => Finding::fail(format!("no TLS handshake: {refusal}"))
            .fix(advice("Let the web server speak TLS 1.2 or 1.3 on port 443, for this name too")),
        Obstacle::NoAnchors => Finding::unknown("this system has no trust anchors to judge the certificate by")
            .fix(advice("Install this system's CA certificates (ca-certificates), or name them with --ca-file")),
        Obstacle::Untrusted(faults) => untrusted(faults),
        Obstacle::Misnamed(names) => misnamed(fetch, names),
        Obstacle::Silent(why) => Finding::unknown(why.clone()).fix(advice("Look into the log of the web server")),
        Obstacle::TooLarge => Finding::fail(format!("more than {LARGEST_BODY} octets, where senders stop"))
            .fix(advice("Serve the policy alone: it has a few lines")),
        Obstacle::Broken(why) => {
            Finding::fail(why.clone()).fix(advice("Let a web server answer on port 443, and look into its log"))
        }
    }
}

fn nowhere(cx: &Context, lost: &Lost) -> Finding {
    let publish = advice("Publish the A and AAAA records of the web server at this name, or take the TXT record out");
    match &lost.why {
        Loss::Silent(silence) => Finding::from(Abstain::Unknown(silence.clone())),
        Loss::Nowhere(why) if cx.target.protocols == Protocols::All => {
            Finding::fail(format!("{why}: a record without a policy")).fix(publish)
        }
        Loss::Nowhere(why) => Finding::unknown(format!("{why}, and --protocols leaves the others out")),
        Loss::Loop { why, .. } => Finding::fail(why.clone()),
        Loss::Beyond(more, what) => Finding::skip(format!("{} more {what} are not asked", grouped(*more))),
        Loss::NoRoute(family) => Finding::unknown(format!("this machine has no way to {} addresses", family.name())),
    }
}

fn unconnected(fetch: &Fetch) -> Finding {
    let families = [Family::Ipv4, Family::Ipv6].into_iter().filter(|family| {
        let mut addresses = fetch.misses.iter().map(|(address, _)| Family::of(*address));
        addresses.any(|of| of == *family)
    });
    if fetch.misses.iter().all(|(_, cause)| matches!(cause, Cause::NoRoute(_))) {
        let families: Vec<&str> = families.map(Family::name).collect();
        return Finding::unknown(format!("this machine has no way to {} addresses", families.join(" and ")));
    }
    let tried: Vec<String> =
        fetch.misses.iter().map(|(address, cause)| format!("{address}: {}", words(cause))).collect();
    let more = (fetch.untried > 0).then(|| format!("{} more addresses, not tried", grouped(fetch.untried)));
    let message = more.into_iter().chain(tried).collect::<Vec<_>>().join("; ");
    match fetch.misses.iter().all(|(_, cause)| matches!(cause, Cause::Lost(_))) {
        true => Finding::fail(format!("{message}; the policy cannot be fetched")),
        false => Finding::unknown(message),
    }
    .fix(advice("Let a web server listen on port 443, and let the firewall through to it"))
}

/// Whether the fault is the server's, not that of the way to it.
fn is_theirs(cause: &Cause) -> bool {
    !matches!(cause, Cause::NoRoute(_) | Cause::Unreachable(_))
}

fn untrusted(faults: &[Fault]) -> Finding {
    let told = faults.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ");
    let reasons: Vec<&str> = faults.iter().map(Fault::word).collect();
    if faults.iter().all(|fault| matches!(fault, Fault::Beyond(_))) {
        return Finding::unknown(format!("the certificate {told}")).fact("reasons", reasons);
    }
    let fix = match faults.first() {
        Some(Fault::NoIssuer { alone: true, .. }) => {
            "Let the web server send the intermediate certificate too (fullchain.pem)"
        }
        Some(Fault::Expired { .. }) => "Renew the web server's certificate, and let a machine renew it from then on",
        Some(Fault::NotYetValid { .. }) => "Check the clock of this machine, then the web server's certificate",
        _ => "Get a certificate of a public CA for the web server: senders know no others",
    };
    Finding::fail(format!("certificate not trusted: {told}")).fact("reasons", reasons).fix(advice(fix))
}

fn misnamed(fetch: &Fetch, names: &[String]) -> Finding {
    let host = fetch.url.split('/').nth(2).unwrap_or_default();
    let is_common = fetch.session.as_ref().is_some_and(|session| session.names.are_common());
    let message = if is_common {
        format!("the certificate is for {} by its common name alone, which senders do not look at", names.join(", "))
    } else {
        let more = names.len().saturating_sub(MOST_NAMES);
        let shown = names.iter().take(MOST_NAMES).cloned().collect::<Vec<_>>().join(", ");
        match (names.is_empty(), more) {
            (true, _) => format!("the certificate is for nobody, not for {host}"),
            (false, 0) => format!("the certificate is for {shown}, not for {host}"),
            (false, more) => format!("the certificate is for {shown} and {more} more, not for {host}"),
        }
    };
    Finding::fail(message)
        .fact("names", names.to_vec())
        .fix(advice(&format!("Get a certificate for {host}, and let the web server show it for this name")))
}

/// That the certificate runs out soon: what is renewed by a machine has more than a fifth of its lifetime left.
fn expiring(cx: &Context, session: &Session) -> Option<String> {
    let lifetime = session.not_after.duration_since(session.not_before).unwrap_or_default();
    let left = session.not_after.duration_since(cx.now).ok()?;
    let days = |time: std::time::Duration| time.as_secs() / 86_400;
    (left < lifetime / 5).then(|| {
        let until = timestamp(session.not_after);
        format!("its certificate expires {until}, {} days left of {}", days(left), days(lifetime))
    })
}

fn advice(text: &str) -> Fix {
    Fix::Advice(text.to_owned())
}
