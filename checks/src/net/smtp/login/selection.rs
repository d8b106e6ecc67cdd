//! Which mechanism: as Postfix filters the server's list, and as Cyrus SASL chooses from the rest.

use std::fmt;

use super::mechanism::{Means, Mechanism};
use crate::Credentials;

/// The mechanism for a login, and why it is none of the others.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Selection {
    pub(crate) chosen: Option<Mechanism>,
    /// In the server's order.
    pub(crate) dropped: Vec<(String, Reason)>,
}

/// Why a mechanism that is offered cannot be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reason {
    /// Another one was insisted on.
    NotInsisted,
    /// It proves something with what we have not got.
    Needs(Means),
    /// We do not speak it.
    Unspoken,
    /// `smtp_sasl_mechanism_filter` has no room for it.
    Filter,
    /// There is nothing to bind it to.
    Unbound,
    /// It does not meet this word of the security options.
    Option(&'static str),
}

impl Selection {
    /// The mechanism for `credentials` among those `offered`; `is_bound` says whether there is a channel binding.
    ///
    /// `sasl_client_start` of Cyrus takes the first of the server's list that has all the properties asked for: a later
    /// one replaces it only with a stronger security layer, and none of ours has any. With a channel binding it looks
    /// at the -PLUS mechanisms first.
    pub(crate) fn of(credentials: &Credentials, offered: &[String], is_bound: bool) -> Self {
        let mut selection = Self { chosen: None, dropped: Vec::new() };
        for word in offered {
            match considered(word, credentials, is_bound) {
                Err(reason) => selection.dropped.push((word.clone(), reason)),
                Ok(mechanism) => {
                    let is_better = |chosen: Mechanism| mechanism.is_bound() && !chosen.is_bound();
                    if selection.chosen.is_none_or(is_better) {
                        selection.chosen = Some(mechanism);
                    }
                }
            }
        }
        selection
    }

    /// Those that were dropped for such a reason.
    pub(crate) fn dropped_for(&self, is_meant: impl Fn(Reason) -> bool) -> Vec<&str> {
        self.dropped.iter().filter(|(_, reason)| is_meant(*reason)).map(|(word, _)| word.as_str()).collect()
    }
}

fn considered(word: &str, credentials: &Credentials, is_bound: bool) -> Result<Mechanism, Reason> {
    if credentials.mechanism.as_ref().is_some_and(|insisted| insisted != word) {
        return Err(Reason::NotInsisted);
    }
    let mechanism = Mechanism::named(word);
    let ours = Means::of(&credentials.login);
    let wanted = mechanism.map(Mechanism::means).or_else(|| Means::of_unspoken(word));
    if let Some(other) = wanted.filter(|wanted| *wanted != ours) {
        return Err(Reason::Needs(other));
    }
    if !credentials.filter.keeps(word) {
        return Err(Reason::Filter);
    }
    let mechanism = mechanism.ok_or(Reason::Unspoken)?;
    if mechanism.is_bound() && !is_bound {
        return Err(Reason::Unbound);
    }
    match credentials.options.unmet(mechanism.properties()) {
        Some(option) => Err(Reason::Option(option)),
        None => Ok(mechanism),
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NotInsisted => "--sasl-mechanism",
            Self::Needs(Means::Password) => "needs a password",
            Self::Needs(Means::Token) => "needs a token",
            Self::Needs(Means::Session) => "needs no password and no token",
            Self::Unspoken => "not spoken by this version",
            Self::Filter => "smtp_sasl_mechanism_filter",
            Self::Unbound => "no channel binding",
            Self::Option(word) => word,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Login, Secret};

    fn credentials(login: &str, filter: &str, options: &str, insisted: Option<&str>) -> Credentials {
        let secret = Secret::new("secret".to_owned());
        let login = match login {
            "password" => Login::Password(secret),
            "token" => Login::Token(secret),
            _ => Login::Session,
        };
        Credentials {
            filter: filter.parse().unwrap(),
            options: options.parse().unwrap(),
            mechanism: insisted.map(str::to_owned),
            ..Credentials::new("jira".to_owned(), login)
        }
    }

    #[test]
    fn as_cyrus_chooses() {
        for (login, filter, options, insisted, offered, chosen) in [
            ("password", "", "noanonymous", None, "PLAIN LOGIN", Some("PLAIN")),
            ("password", "", "noanonymous", None, "LOGIN PLAIN", Some("LOGIN")),
            ("password", "", "noanonymous", None, "PLAIN SCRAM-SHA-256 CRAM-MD5", Some("PLAIN")),
            ("password", "", "noplaintext, noanonymous", None, "PLAIN LOGIN", None),
            ("password", "", "noplaintext", None, "PLAIN CRAM-MD5 SCRAM-SHA-1", Some("CRAM-MD5")),
            ("password", "", "noactive", None, "PLAIN CRAM-MD5 SCRAM-SHA-1", Some("SCRAM-SHA-1")),
            ("password", "", "mutual_auth", None, "PLAIN CRAM-MD5 SCRAM-SHA-256", Some("SCRAM-SHA-256")),
            ("password", "", "nodictionary", None, "PLAIN CRAM-MD5 SCRAM-SHA-256", None),
            ("password", "", "forward_secrecy", None, "PLAIN CRAM-MD5 SCRAM-SHA-256", None),
            ("password", "", "", None, "PLAIN SCRAM-SHA-1 SCRAM-SHA-256-PLUS", Some("SCRAM-SHA-256-PLUS")),
            ("password", "login", "", None, "PLAIN LOGIN", Some("LOGIN")),
            ("password", "!plain", "", None, "PLAIN LOGIN", None),
            ("password", "", "", None, "DIGEST-MD5 NTLM LOGIN", Some("LOGIN")),
            ("password", "", "", None, "XOAUTH2 OAUTHBEARER EXTERNAL GSSAPI", None),
            ("password", "", "", Some("LOGIN"), "PLAIN LOGIN", Some("LOGIN")),
            ("password", "", "noplaintext", Some("LOGIN"), "PLAIN LOGIN", None),
            ("token", "", "noanonymous", None, "PLAIN XOAUTH2 OAUTHBEARER", Some("XOAUTH2")),
            ("token", "", "noanonymous", None, "OAUTHBEARER XOAUTH2", Some("OAUTHBEARER")),
            ("token", "", "noplaintext", None, "XOAUTH2", None),
            ("session", "", "noplaintext", Some("EXTERNAL"), "PLAIN EXTERNAL", Some("EXTERNAL")),
            ("password", "", "", None, "", None),
        ] {
            let offered: Vec<String> = offered.split_whitespace().map(str::to_owned).collect();
            let selection = Selection::of(&credentials(login, filter, options, insisted), &offered, true);
            assert_eq!(selection.chosen.map(Mechanism::word), chosen, "{offered:?} {filter} {options}");
            let unused = offered.len() - usize::from(chosen.is_some());
            assert!(selection.dropped.len() <= unused, "{selection:?}");
        }
    }

    #[test]
    fn why_not() {
        let offered =
            ["PLAIN", "CRAM-MD5", "DIGEST-MD5", "XOAUTH2", "GSSAPI", "SCRAM-SHA-1-PLUS"].map(str::to_owned).to_vec();
        let selection =
            Selection::of(&credentials("password", "!cram-md5 static:all", "noplaintext", None), &offered, false);
        let reasons: Vec<String> = selection.dropped.iter().map(|(word, why)| format!("{word}: {why}")).collect();
        assert_eq!(
            reasons,
            [
                "PLAIN: noplaintext",
                "CRAM-MD5: smtp_sasl_mechanism_filter",
                "DIGEST-MD5: not spoken by this version",
                "XOAUTH2: needs a token",
                "GSSAPI: needs no password and no token",
                "SCRAM-SHA-1-PLUS: no channel binding",
            ]
        );
        assert_eq!(selection.dropped_for(|why| why == Reason::Unspoken), ["DIGEST-MD5"]);
    }
}
