//! Why none of the mechanisms offered will do, and what Postfix says then.

use crate::{
    Credentials, Finding, Fix,
    net::smtp::{Dialogue, Reason, Selection},
};

/// Nothing is left of what is offered.
pub(super) fn nothing(dialogue: &Dialogue, credentials: &Credentials) -> Finding {
    let offered = dialogue.secured.as_ref().map(|reply| reply.mechanisms()).unwrap_or_default();
    let selection = dialogue.selection(credentials, &offered);
    let server = format!("{}[{}]", dialogue.endpoint.host, dialogue.endpoint.address);
    let list = offered.join(" ");

    let insecure = selection.dropped_for(|reason| matches!(reason, Reason::Option(_)));
    if !insecure.is_empty() {
        return by_options(&selection, &insecure, &server);
    }
    let filtered = selection.dropped_for(|reason| reason == Reason::Filter);
    if !filtered.is_empty() {
        return Finding::fail(format!(
            "the mechanism filter leaves nothing of {}: Postfix logs \"SASL authentication failed: server {server} \
             offered no compatible authentication mechanisms for this type of connection security\"",
            filtered.join(" ")
        ))
        .fix(Fix::Shell("postconf -e 'smtp_sasl_mechanism_filter ='".to_owned()));
    }
    let advice = "Ask the relay's operator how to log in: with a password (--sasl-password-file) or a token \
                  (--sasl-token-file)";
    if !selection.dropped_for(|reason| reason == Reason::Unspoken).is_empty() {
        return Finding::unknown(format!("offers only {list}, which this version does not speak"));
    }
    if !selection.dropped_for(|reason| reason == Reason::Unbound).is_empty() {
        return Finding::unknown(format!("offers only {list}, and this TLS session has no channel binding for it"));
    }
    let wanted = match (&credentials.mechanism, &credentials.login) {
        (Some(insisted), _) => insisted.as_str(),
        (None, crate::Login::Token(_)) => "XOAUTH2 or OAUTHBEARER",
        (None, _) => "one that takes a password",
    };
    Finding::fail(format!("offers only {list}, not {wanted}")).fix(Fix::Advice(advice.to_owned()))
}

/// The classic: `noplaintext`, Postfix's default, against a server that has only PLAIN and LOGIN.
fn by_options(selection: &Selection, insecure: &[&str], server: &str) -> Finding {
    let mut words: Vec<&str> = Vec::new();
    for (_, reason) in &selection.dropped {
        if let Reason::Option(word) = reason
            && !words.contains(word)
        {
            words.push(word);
        }
    }
    let verb = if words.len() == 1 { "leaves" } else { "leave" };
    Finding::fail(format!(
        "{} {verb} nothing of {}: Postfix logs \"SASL authentication failed; cannot authenticate to server {server}: no \
         mechanism available\"; under TLS smtp_sasl_tls_security_options = noanonymous cures it",
        words.join(" and "),
        insecure.join(" ")
    ))
    .fix(Fix::Shell("postconf -e 'smtp_sasl_tls_security_options = noanonymous'".to_owned()))
}
