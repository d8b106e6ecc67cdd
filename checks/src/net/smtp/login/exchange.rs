//! Our end of an exchange: what is answered to each challenge.
//!
//! The mechanisms of one message are ours, because they are one line each, because the secret is wiped, and because
//! OAUTHBEARER's refusal has to be answered with an octet 1 (RFC 7628 section 3.2.3). SCRAM is rsasl's.

use std::fmt;

use hmac::{Hmac, Mac};
use md5::Md5;
use syntax::reply::Reply;
use zeroize::Zeroizing;

use super::{
    super::redaction::secret,
    mechanism::{Means, Mechanism},
    scram::Scram,
};
use crate::{Credentials, net::tls::Binding};

/// What OAUTHBEARER says of a token that it refuses (RFC 7628 section 3.2.2); XOAUTH2 says an HTTP code.
const OAUTH_ERRORS: [&str; 3] = ["invalid_request", "invalid_token", "insufficient_scope"];

/// Our end of an exchange.
pub(super) struct Exchange<'a> {
    mechanism: Mechanism,
    user: &'a str,
    secret: &'a str,
    scram: Option<Scram>,
    /// Whether the server has the secret, or what proves it.
    is_told: bool,
    /// Whether it has been told twice.
    is_repeated: bool,
    answered: usize,
    status: Option<String>,
}

/// Why a challenge is not answered.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Refusal {
    /// There is nothing left to say.
    Surplus,
    Flaw(Flaw),
}

/// What is wrong with an exchange, whatever its reply says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Flaw {
    /// The server's signature is not of somebody who knows the password.
    Impostor,
    /// The server said yes without its signature.
    Unproved,
    /// The server said yes before it was told anything.
    Unasked,
    /// The server broke the protocol.
    Broken(String),
    /// We cannot, others might.
    Ours(String),
}

impl From<Flaw> for Refusal {
    fn from(flaw: Flaw) -> Self {
        Self::Flaw(flaw)
    }
}

impl fmt::Display for Flaw {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Impostor => f.write_str("the server's signature is wrong: it does not know the password"),
            Self::Unproved => {
                f.write_str("the server says yes without its signature: it has not shown that it knows the password")
            }
            Self::Unasked => f.write_str("the server says yes before it is told the password: that is no login"),
            Self::Broken(why) | Self::Ours(why) => f.write_str(why),
        }
    }
}

impl Flaw {
    /// The answer to `*` is 501 (RFC 4954 section 4).
    pub(super) fn resurrected() -> Self {
        Self::Broken("the server accepts a login that was cancelled".to_owned())
    }
}

impl<'a> Exchange<'a> {
    pub(super) fn new(mechanism: Mechanism, credentials: &'a Credentials, binding: Option<&Binding>) -> Self {
        let scram =
            mechanism.is_scram().then(|| Scram::new(mechanism, credentials, binding.filter(|_| mechanism.is_bound())));
        let secret = secret(&credentials.login).map(|secret| secret.expose()).unwrap_or_default();
        Self {
            mechanism,
            user: &credentials.user,
            secret,
            scram,
            is_told: false,
            is_repeated: false,
            answered: 0,
            status: None,
        }
    }

    /// What goes with AUTH, where the client begins.
    pub(super) fn opening(&mut self) -> Option<Zeroizing<Vec<u8>>> {
        let Self { user, secret, .. } = self;
        let message = match self.mechanism {
            Mechanism::Login | Mechanism::CramMd5 => return None,
            Mechanism::Plain => Zeroizing::new(format!("\0{user}\0{secret}")),
            Mechanism::Xoauth2 => Zeroizing::new(format!("user={user}\x01auth=Bearer {secret}\x01\x01")),
            // RFC 5801 section 4: the identity is a saslname.
            Mechanism::OauthBearer => Zeroizing::new(format!(
                "n,a={},\x01auth=Bearer {secret}\x01\x01",
                user.replace('=', "=3D").replace(',', "=2C")
            )),
            Mechanism::External => Zeroizing::new((*user).to_owned()),
            _ => return self.scram.as_mut().and_then(Scram::opening),
        };
        Some(Zeroizing::new(message.as_bytes().to_vec()))
    }

    /// The message of a mechanism that has one is on its way.
    pub(super) fn told(&mut self) {
        self.is_told = self.scram.is_none();
    }

    /// The answer to a challenge; none is one that is no base64.
    pub(super) async fn response(&mut self, challenge: Option<Vec<u8>>) -> Result<Zeroizing<Vec<u8>>, Refusal> {
        if let Some(message) = self.again(challenge.as_deref()) {
            return Ok(message);
        }
        self.answered += 1;
        let undecodable = || Flaw::Broken("the server's challenge is not base64".to_owned());
        let answer = |text: &str| Ok(Zeroizing::new(text.as_bytes().to_vec()));
        match (self.mechanism, self.answered) {
            // In words that nobody agreed on.
            (Mechanism::Login, 1) => answer(self.user),
            (Mechanism::Login, 2) => {
                self.is_told = true;
                answer(self.secret)
            }
            (Mechanism::CramMd5, 1) => {
                self.is_told = true;
                Ok(self.digest(&challenge.ok_or_else(undecodable)?))
            }
            // The challenge is the refusal; the server says 535 once it is answered.
            (Mechanism::Xoauth2, 1) => {
                self.status = challenge.and_then(|challenge| refusal_status(&challenge));
                answer("")
            }
            (Mechanism::OauthBearer, 1) => {
                self.status = challenge.and_then(|challenge| refusal_status(&challenge));
                answer("\x01")
            }
            _ => match &mut self.scram {
                Some(scram) => scram.response(challenge.ok_or_else(undecodable)?).await,
                // A server that asks on is told to forget it (RFC 4954 section 4).
                None => Err(Refusal::Surplus),
            },
        }
    }

    /// What the server said about its refusal.
    pub(super) fn status(&mut self) -> Option<String> {
        self.status.take().or_else(|| self.scram.as_mut().and_then(Scram::refusal))
    }

    /// The message once more, for a server that asks for it with an empty challenge though it came with AUTH.
    fn again(&mut self, challenge: Option<&[u8]>) -> Option<Zeroizing<Vec<u8>>> {
        let is_asked = challenge.is_some_and(<[u8]>::is_empty) && self.scram.is_none() && !self.is_repeated;
        let message = if is_asked { self.opening() } else { None };
        self.is_repeated |= message.is_some();
        message
    }

    /// How often the server has the password hashed (RFC 5802 section 5.1).
    pub(super) fn iterations(&self) -> Option<u32> {
        self.scram.as_ref().and_then(Scram::iterations)
    }

    /// What is wrong with a yes that nothing of this exchange led to.
    pub(super) fn unfounded(&self, reply: &Reply) -> Option<Flaw> {
        let is_refused = self.mechanism.means() == Means::Token && self.answered > 0;
        match &self.scram {
            _ if !reply.is_positive() => None,
            Some(scram) => (!scram.is_verified()).then_some(Flaw::Unproved),
            None if !self.is_told => Some(Flaw::Unasked),
            None if is_refused => Some(Flaw::Broken("the server accepts a token after it has refused it".to_owned())),
            None => None,
        }
    }

    /// What in a message of this exchange the secret could be guessed from, or which stands for it.
    pub(super) fn derived<'m>(&self, message: &'m [u8]) -> impl Iterator<Item = &'m [u8]> + use<'m> {
        let separator = if self.mechanism == Mechanism::CramMd5 { b' ' } else { b',' };
        let is_kept = self.mechanism.derives();
        let parts = message.split(move |octet| *octet == separator).filter(|part| !part.starts_with(b"n="));
        let values = parts.map(|part| match part {
            [name, b'=', value @ ..] if name.is_ascii_lowercase() => value,
            part => part,
        });
        // A user name stands first in CRAM-MD5's response, and is no secret.
        let skipped = usize::from(separator == b' ' && message.contains(&b' '));
        values.skip(skipped).filter(move |_| is_kept)
    }

    /// RFC 2195 section 2: the user, and the HMAC of the challenge under the password.
    fn digest(&self, challenge: &[u8]) -> Zeroizing<Vec<u8>> {
        // A key of any length will do.
        let digest = <Hmac<Md5> as Mac>::new_from_slice(self.secret.as_bytes())
            .map(|mac| mac.chain_update(challenge).finalize());
        let digest = digest.map(|digest| digest.into_bytes()).unwrap_or_default();
        let mut response = Zeroizing::new(Vec::with_capacity(self.user.len() + 33));
        response.extend_from_slice(self.user.as_bytes());
        response.push(b' ');
        digest.iter().for_each(|octet| response.extend_from_slice(format!("{octet:02x}").as_bytes()));
        response
    }
}

/// The `status` of a JSON challenge, where it is the short word it should be.
fn refusal_status(json: &[u8]) -> Option<String> {
    let value: serde_json::Value = serde_json::from_slice(json).ok()?;
    let status = match value.get("status")? {
        serde_json::Value::String(status) => status.clone(),
        serde_json::Value::Number(status) => status.to_string(),
        _ => return None,
    };
    let is_code = (1..=3).contains(&status.len()) && status.bytes().all(|octet| octet.is_ascii_digit());
    (is_code || OAUTH_ERRORS.contains(&status.as_str())).then_some(status)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Login, Secret};

    fn credentials(user: &str, secret: &str) -> Credentials {
        Credentials::new(user.to_owned(), Login::Password(Secret::new(secret.to_owned())))
    }

    #[tokio::test]
    async fn the_example_of_rfc_2195() {
        let credentials = credentials("tim", "tanstaaftanstaaf");
        let mut exchange = Exchange::new(Mechanism::CramMd5, &credentials, None);
        assert!(exchange.opening().is_none());
        let challenge = b"<1896.697170952@postoffice.reston.mci.net>".to_vec();
        let response = exchange.response(Some(challenge.clone())).await.unwrap();
        assert_eq!(&*response, b"tim b913a602c7eda7a495b4e6e7334d3890");
        let derived: Vec<_> = exchange.derived(&response).collect();
        assert_eq!(derived, [b"b913a602c7eda7a495b4e6e7334d3890"]);
        assert_eq!(exchange.response(Some(challenge)).await, Err(Refusal::Surplus));
    }

    #[tokio::test]
    async fn a_challenge_that_is_no_base64_is_not_answered() {
        let credentials = credentials("tim", "secret");
        for mechanism in [Mechanism::CramMd5, Mechanism::ScramSha256] {
            let mut exchange = Exchange::new(mechanism, &credentials, None);
            exchange.opening();
            assert!(matches!(exchange.response(None).await, Err(Refusal::Flaw(Flaw::Broken(_)))));
        }
    }

    #[tokio::test]
    async fn oauth_messages() {
        let credentials = credentials("a,b=c", "t0ken");
        let mut exchange = Exchange::new(Mechanism::OauthBearer, &credentials, None);
        assert_eq!(&*exchange.opening().unwrap(), b"n,a=a=2Cb=3Dc,\x01auth=Bearer t0ken\x01\x01");
        let refused = br#"{"status":"invalid_token","scope":"mail"}"#.to_vec();
        assert_eq!(&*exchange.response(Some(refused)).await.unwrap(), b"\x01");
        assert_eq!(exchange.status().as_deref(), Some("invalid_token"));
        let mut exchange = Exchange::new(Mechanism::Xoauth2, &credentials, None);
        assert_eq!(&*exchange.opening().unwrap(), b"user=a,b=c\x01auth=Bearer t0ken\x01\x01");
        assert_eq!(&*exchange.response(None).await.unwrap(), b"");
        assert_eq!(exchange.status(), None);
    }

    #[test]
    fn the_status_of_a_refused_token() {
        assert_eq!(refusal_status(br#"{"status":"401","schemes":"bearer"}"#).as_deref(), Some("401"));
        assert_eq!(refusal_status(br#"{"status":400}"#).as_deref(), Some("400"));
        assert_eq!(refusal_status(br#"{"status":"Bearer token"}"#), None);
        assert_eq!(refusal_status(b"%%%"), None);
    }
}
