//! SASL over SMTP (RFC 4954): which mechanism, and the one attempt of a run.

use std::fmt;

use base64::{Engine, engine::general_purpose::STANDARD};
use tokio::io::{AsyncRead, AsyncWrite};
use zeroize::Zeroizing;

use super::{
    redaction::{REDACTED, secret},
    reply::Reply,
    wire::{Cause, Wire},
};
use crate::{Credentials, Login};

/// RFC 4954 section 4: an initial response goes with AUTH only while the command keeps to the limit of RFC 5321
/// section 4.5.3.1.4, 512 octets with its CRLF.
const LONGEST_COMMAND: usize = 512 - 2;

/// A mechanism this version speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mechanism {
    /// RFC 4616.
    Plain,
    /// draft-murchison-sasl-login: what PLAIN was before it was written down.
    Login,
    /// Google's and Microsoft's, before RFC 7628.
    Xoauth2,
}

/// Why no login was tried at an address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Withheld {
    /// There is nothing to log in with.
    NoCredentials,
    /// The server offers no AUTH.
    NotOffered,
    /// The mechanism insisted on is one that we do not speak.
    Unspoken(String),
    /// The server offers other mechanisms than the wanted ones.
    NoMechanism { wanted: String, offered: Vec<String> },
    /// The certificate has no path to a trust anchor.
    Untrusted,
    /// The certificate is for others.
    Misnamed,
    /// Another address comes first.
    Elsewhere,
}

/// What came of the login at an address.
#[derive(Clone, Debug)]
pub(crate) enum Attempt {
    /// It was not tried.
    Withheld(Withheld),
    /// It was tried, and the server decided. XOAUTH2 tells the status of a refusal apart.
    Decided { mechanism: Mechanism, reply: Reply, status: Option<String> },
}

impl Mechanism {
    /// The best mechanism for `credentials` among those `offered`.
    pub(super) fn chosen(credentials: &Credentials, offered: &[String]) -> Result<Self, Withheld> {
        if offered.is_empty() {
            return Err(Withheld::NotOffered);
        }
        let wanted = match (&credentials.mechanism, &credentials.login) {
            (Some(word), _) => vec![Self::named(word).ok_or_else(|| Withheld::Unspoken(word.clone()))?],
            (None, Login::Password(_)) => vec![Self::Plain, Self::Login],
            (None, Login::Token(_)) => vec![Self::Xoauth2],
        };
        let found = wanted.iter().copied().find(|mechanism| offered.iter().any(|word| word == mechanism.word()));
        found.ok_or_else(|| Withheld::NoMechanism {
            wanted: wanted.iter().map(|mechanism| mechanism.word()).collect::<Vec<_>>().join(" or "),
            offered: offered.to_vec(),
        })
    }

    fn named(word: &str) -> Option<Self> {
        [Self::Plain, Self::Login, Self::Xoauth2].into_iter().find(|mechanism| mechanism.word() == word)
    }

    /// Its name in the IANA registry.
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Plain => "PLAIN",
            Self::Login => "LOGIN",
            Self::Xoauth2 => "XOAUTH2",
        }
    }
}

impl fmt::Display for Mechanism {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

/// The one attempt: no retry, no second mechanism.
pub(super) async fn log_in<S: AsyncRead + AsyncWrite + Unpin>(
    wire: &mut Wire<'_, S>,
    mechanism: Mechanism,
    credentials: &Credentials,
) -> Result<Attempt, Cause> {
    let (user, secret) = (&credentials.user, secret(&credentials.login).expose());
    let mut status = None;
    let reply = match mechanism {
        Mechanism::Plain => {
            let message = Zeroizing::new(format!("\0{user}\0{secret}"));
            match begin(wire, mechanism, &message).await? {
                // A server that asks on after PLAIN's only message is told to forget it (RFC 4954 section 4).
                reply if reply.code == 334 => wire.command("*").await?,
                reply => reply,
            }
        }
        Mechanism::Xoauth2 => {
            let message = Zeroizing::new(format!("user={user}\x01auth=Bearer {secret}\x01\x01"));
            match begin(wire, mechanism, &message).await? {
                // The challenge is the refusal; the server says 535 once it is answered.
                reply if reply.code == 334 => {
                    status = refusal_status(&reply);
                    wire.confide("", "").await?
                }
                reply => reply,
            }
        }
        Mechanism::Login => prompted(wire, user, secret).await?,
    };
    Ok(Attempt::Decided { mechanism, reply, status })
}

/// AUTH with an initial response, or with the same as an answer to the empty challenge where it would be too long.
async fn begin<S: AsyncRead + AsyncWrite + Unpin>(
    wire: &mut Wire<'_, S>,
    mechanism: Mechanism,
    message: &str,
) -> Result<Reply, Cause> {
    let response = Zeroizing::new(STANDARD.encode(message));
    let command = Zeroizing::new(format!("AUTH {mechanism} {}", *response));
    if command.len() <= LONGEST_COMMAND {
        return wire.confide(&command, &format!("AUTH {mechanism} {REDACTED}")).await;
    }
    match wire.command(&format!("AUTH {mechanism}")).await? {
        reply if reply.code == 334 => wire.confide(&response, REDACTED).await,
        reply => Ok(reply),
    }
}

/// LOGIN: the server prompts for the user, then for the password, in words that nobody agreed on.
async fn prompted<S: AsyncRead + AsyncWrite + Unpin>(
    wire: &mut Wire<'_, S>,
    user: &str,
    secret: &str,
) -> Result<Reply, Cause> {
    let mut reply = wire.command("AUTH LOGIN").await?;
    for answer in [user, secret] {
        if reply.code != 334 {
            break;
        }
        reply = wire.confide(&Zeroizing::new(STANDARD.encode(answer)), REDACTED).await?;
    }
    Ok(reply)
}

/// The `status` of XOAUTH2's JSON challenge, where it is the short word it should be.
fn refusal_status(challenge: &Reply) -> Option<String> {
    let json = STANDARD.decode(challenge.lines.first()?.trim()).ok()?;
    let value: serde_json::Value = serde_json::from_slice(&json).ok()?;
    let status = match value.get("status")? {
        serde_json::Value::String(status) => status.clone(),
        serde_json::Value::Number(status) => status.to_string(),
        _ => return None,
    };
    let is_code = (1..=3).contains(&status.len()) && status.bytes().all(|octet| octet.is_ascii_digit());
    is_code.then_some(status)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Secret;

    #[test]
    fn the_best_mechanism_both_sides_have() {
        let credentials = |token: bool, mechanism: Option<&str>| {
            let secret = Secret::new("secret".to_owned());
            let login = if token { Login::Token(secret) } else { Login::Password(secret) };
            Credentials { user: "jira".to_owned(), login, mechanism: mechanism.map(str::to_owned) }
        };
        let chosen = |token, insisted, offered: &str| {
            let offered: Vec<String> = offered.split_whitespace().map(str::to_owned).collect();
            Mechanism::chosen(&credentials(token, insisted), &offered)
        };
        assert_eq!(chosen(false, None, "LOGIN PLAIN"), Ok(Mechanism::Plain));
        assert_eq!(chosen(false, None, "CRAM-MD5 LOGIN"), Ok(Mechanism::Login));
        assert_eq!(chosen(false, Some("LOGIN"), "LOGIN PLAIN"), Ok(Mechanism::Login));
        assert_eq!(chosen(true, None, "PLAIN XOAUTH2"), Ok(Mechanism::Xoauth2));
        assert_eq!(chosen(false, None, ""), Err(Withheld::NotOffered));
        assert_eq!(chosen(false, Some("CRAM-MD5"), "CRAM-MD5"), Err(Withheld::Unspoken("CRAM-MD5".to_owned())));
        for (token, insisted) in [(false, None), (true, None), (false, Some("PLAIN"))] {
            assert!(matches!(chosen(token, insisted, "CRAM-MD5"), Err(Withheld::NoMechanism { .. })));
        }
    }

    #[test]
    fn the_status_of_a_refused_token() {
        let challenge = |json: &str| Reply { code: 334, lines: vec![STANDARD.encode(json)] };
        assert_eq!(refusal_status(&challenge(r#"{"status":"401","schemes":"bearer"}"#)).as_deref(), Some("401"));
        assert_eq!(refusal_status(&challenge(r#"{"status":400}"#)).as_deref(), Some("400"));
        assert_eq!(refusal_status(&challenge(r#"{"status":"Bearer token"}"#)), None);
        assert_eq!(refusal_status(&Reply { code: 334, lines: vec!["%%%".to_owned()] }), None);
    }
}
