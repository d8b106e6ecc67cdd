//! SCRAM (RFC 5802, RFC 7677) by rsasl, which is handed nothing but what it is known to bear: it takes any iteration
//! count, and panics at attributes without a value.
//!
//! Passwords go in as they are typed: neither Cyrus SASL, which Postfix uses, nor Dovecot prepares them (RFC 4013).

use std::{sync::Arc, time::Duration};

use base64::{Engine, engine::general_purpose::STANDARD};
use rsasl::{
    callback::{Context, Request, SessionCallback, SessionData},
    config::SASLConfig,
    mechanisms::scram::{SCRAM_SHA1, SCRAM_SHA1_PLUS, SCRAM_SHA256, SCRAM_SHA256_PLUS},
    prelude::{Mechanism as Offer, Mechname, Registry, SASLClient, Session, SessionError},
    property::{AuthId, ChannelBindings, OverrideCBType, Password},
};
use syntax::Secret;
use zeroize::Zeroizing;

use super::{
    exchange::{Flaw, Refusal},
    mechanism::Mechanism,
};
use crate::{
    Credentials,
    net::{aside::aside, tls::Binding},
};

/// RFC 7677 section 4 asks for 4,096 at least; a server that asks for more than this wants our processor.
const MOST_ITERATIONS: u32 = 1_000_000;

/// What hashing that often may take.
const PATIENCE: Duration = Duration::from_secs(30);

static OFFERS: [Offer; 4] = [SCRAM_SHA1, SCRAM_SHA1_PLUS, SCRAM_SHA256, SCRAM_SHA256_PLUS];

/// What a server may say of its refusal (RFC 5802 section 7).
const ERRORS: [&str; 11] = [
    "invalid-encoding",
    "extensions-not-supported",
    "invalid-proof",
    "channel-bindings-dont-match",
    "server-does-support-channel-binding",
    "channel-binding-not-supported",
    "unsupported-channel-binding-type",
    "unknown-user",
    "invalid-username-encoding",
    "no-resources",
    "other-error",
];

/// Our end of a SCRAM exchange.
pub(super) struct Scram {
    state: State,
    iterations: Option<u32>,
    refusal: Option<String>,
}

enum State {
    Begins(Option<Session>),
    /// The proof is sent, the server's is awaited.
    Proved(Session),
    Verified,
    /// There is nothing to go on with.
    Over,
}

struct Answers {
    user: String,
    password: Secret,
    binding: Option<Binding>,
}

impl SessionCallback for Answers {
    fn callback(&self, _: &SessionData, _: &Context, request: &mut Request<'_>) -> Result<(), SessionError> {
        request.satisfy::<AuthId>(&self.user)?.satisfy::<Password>(self.password.expose().as_bytes())?;
        if let Some(binding) = &self.binding {
            request.satisfy::<OverrideCBType>(binding.name)?.satisfy::<ChannelBindings>(&binding.data)?;
        }
        Ok(())
    }

    fn enable_channel_binding(&self) -> bool {
        self.binding.is_some()
    }
}

impl Scram {
    pub(super) fn new(mechanism: Mechanism, credentials: &Credentials, binding: Option<&Binding>) -> Self {
        Self { state: State::Begins(session(mechanism, credentials, binding)), iterations: None, refusal: None }
    }

    /// The client's first message.
    pub(super) fn opening(&mut self) -> Option<Zeroizing<Vec<u8>>> {
        let State::Begins(Some(session)) = &mut self.state else { return None };
        let mut message = Zeroizing::new(Vec::new());
        session.step(None, &mut *message).ok().map(|_| message)
    }

    /// Whether the server has shown that it knows the password.
    pub(super) fn is_verified(&self) -> bool {
        matches!(self.state, State::Verified)
    }

    /// How often the server has the password hashed.
    pub(super) fn iterations(&self) -> Option<u32> {
        self.iterations
    }

    /// What the server said of its refusal.
    pub(super) fn refusal(&mut self) -> Option<String> {
        self.refusal.take()
    }

    /// The answer to the server's first or last message.
    pub(super) async fn response(&mut self, challenge: Vec<u8>) -> Result<Zeroizing<Vec<u8>>, Refusal> {
        match std::mem::replace(&mut self.state, State::Over) {
            State::Begins(Some(session)) => {
                self.iterations = Some(iterations(&challenge)?);
                // Hashing takes its time, and the other dialogues go on.
                let hashing = aside(move || stepped(session, &challenge));
                let (session, message) = match tokio::time::timeout(PATIENCE, hashing).await {
                    Ok(Some(stepped)) => stepped?,
                    _ => return Err(Flaw::Ours("the password could not be hashed".to_owned()).into()),
                };
                self.state = State::Proved(session);
                Ok(message)
            }
            State::Proved(session) => {
                if let Some(error) = challenge.strip_prefix(b"e=") {
                    self.refusal =
                        ERRORS.iter().find(|known| known.as_bytes() == error).map(|known| (*known).to_owned());
                    // The refusal itself comes with the reply.
                    return Ok(Zeroizing::new(Vec::new()));
                }
                last_is_sound(&challenge)?;
                let (_, message) = stepped(session, &challenge)?;
                self.state = State::Verified;
                Ok(message)
            }
            State::Begins(None) => Err(Flaw::Ours("SCRAM cannot begin".to_owned()).into()),
            State::Verified | State::Over => Err(Refusal::Surplus),
        }
    }
}

fn session(mechanism: Mechanism, credentials: &Credentials, binding: Option<&Binding>) -> Option<Session> {
    let crate::Login::Password(password) = &credentials.login else { return None };
    let answers = Answers { user: credentials.user.clone(), password: password.clone(), binding: binding.cloned() };
    let config: Arc<SASLConfig> =
        SASLConfig::builder().with_registry(Registry::with_mechanisms(&OFFERS)).with_callback(answers).ok()?;
    let name = Mechname::parse(mechanism.word().as_bytes()).ok()?;
    SASLClient::new(config).start_suggested(&[name]).ok()
}

/// One step, and the message that comes of it.
fn stepped(mut session: Session, challenge: &[u8]) -> Result<(Session, Zeroizing<Vec<u8>>), Refusal> {
    let mut message = Zeroizing::new(Vec::new());
    match session.step(Some(challenge), &mut *message) {
        Ok(_) => Ok((session, message)),
        Err(SessionError::MutualAuthenticationFailed) => Err(Flaw::Impostor.into()),
        // What the server sent may stand in the error: it is not repeated.
        Err(_) => Err(Flaw::Broken("the server's SCRAM message does not fit ours".to_owned()).into()),
    }
}

/// The count of `r=NONCE,s=SALT,i=COUNT` (RFC 5802 section 7), which has nothing we would have to understand.
fn iterations(message: &[u8]) -> Result<u32, Flaw> {
    let broken = || Flaw::Broken("the server's first SCRAM message is malformed".to_owned());
    let text = std::str::from_utf8(message).map_err(|_| broken())?;
    let (rest, count) = text.rsplit_once(",i=").ok_or_else(broken)?;
    let (nonce, salt) = rest.rsplit_once(",s=").ok_or_else(broken)?;
    if count.contains(',') || nonce.starts_with("m=") {
        return Err(Flaw::Ours("the server uses an extension of SCRAM that this version does not know".to_owned()));
    }
    let nonce = nonce.strip_prefix("r=").filter(|nonce| !nonce.is_empty() && !nonce.contains(','));
    let is_sound = nonce.is_some() && STANDARD.decode(salt).is_ok_and(|salt| !salt.is_empty());
    match count.parse::<u32>().ok().filter(|count| *count > 0 && is_sound) {
        None => Err(broken()),
        Some(count) if count > MOST_ITERATIONS => {
            Err(Flaw::Ours(format!("the server asks for {count} iterations, {MOST_ITERATIONS} are done at most")))
        }
        Some(count) => Ok(count),
    }
}

/// `v=SIGNATURE` (RFC 5802 section 7).
fn last_is_sound(message: &[u8]) -> Result<(), Flaw> {
    let signature = message.strip_prefix(b"v=").filter(|signature| STANDARD.decode(signature).is_ok());
    signature.map(drop).ok_or_else(|| Flaw::Broken("the server's last SCRAM message is malformed".to_owned()))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::Login;

    fn scram() -> Scram {
        let login = Login::Password(Secret::new("pencil".to_owned()));
        Scram::new(Mechanism::ScramSha256, &Credentials::new("user".to_owned(), login), None)
    }

    /// What becomes of a server that goes on like this behind our nonce.
    async fn answered(first: &str) -> Result<Zeroizing<Vec<u8>>, Refusal> {
        let mut scram = scram();
        let opening = scram.opening().unwrap();
        let nonce = String::from_utf8(opening.to_vec()).unwrap().split_once(",r=").unwrap().1.to_owned();
        scram.response(first.replace("NONCE", &nonce).into_bytes()).await
    }

    #[tokio::test]
    async fn what_rsasl_does_not_bear_is_kept_from_it() {
        assert!(answered("r=NONCEabc,s=QSXCR+Q6sek8bf92,i=4096").await.is_ok());
        for first in [
            "",
            "r=",
            "r=NONCEabc",
            "r=NONCEabc,",
            "r=NONCEabc,s=",
            "r=NONCEabc,s=QSXCR+Q6sek8bf92",
            "r=NONCEabc,s=QSXCR+Q6sek8bf92,",
            "r=NONCEabc,s=QSXCR+Q6sek8bf92,i=",
            "r=NONCEabc,s=QSXCR+Q6sek8bf92,i=0",
            "r=NONCEabc,s=QSXCR+Q6sek8bf92,i=99999999999",
            "r=NONCEabc,s=%%%,i=4096",
            "r=NONCE,s=QSXCR+Q6sek8bf92,i=4096",
            "r=other,s=QSXCR+Q6sek8bf92,i=4096",
        ] {
            assert!(matches!(answered(first).await, Err(Refusal::Flaw(Flaw::Broken(_)))), "{first}");
        }
        for first in ["r=NONCEabc,s=QSXCR+Q6sek8bf92,i=4294967295", "r=NONCEabc,s=QSXCR+Q6sek8bf92,i=4096,t=x"] {
            assert!(matches!(answered(first).await, Err(Refusal::Flaw(Flaw::Ours(_)))), "{first}");
        }
    }

    #[tokio::test]
    async fn a_wrong_signature_is_told_and_a_refusal_answered() {
        for (last, outcome) in [
            ("v=rmF9pqV8S7suAoZWja4dJRkFsKQ=", Err(Refusal::Flaw(Flaw::Impostor))),
            ("e=invalid-proof", Ok(Zeroizing::new(Vec::new()))),
        ] {
            let mut scram = scram();
            let opening = String::from_utf8(scram.opening().unwrap().to_vec()).unwrap();
            let nonce = opening.split_once(",r=").unwrap().1;
            scram.response(format!("r={nonce}abc,s=QSXCR+Q6sek8bf92,i=4096").into_bytes()).await.unwrap();
            assert_eq!(scram.response(last.as_bytes().to_vec()).await, outcome);
            assert!(!scram.is_verified());
            assert_eq!(scram.refusal().is_some(), outcome.is_ok());
        }
    }

    proptest! {
        #[test]
        fn no_message_makes_it_panic(
            first in "(r=[a-z]{0,3})?[,a-z=0-9]{0,12}",
            last in "([ve]=)?[A-Za-z0-9=,]{0,12}",
        ) {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async {
                let mut fresh = scram();
                fresh.opening();
                let _ = fresh.response(first.clone().into_bytes()).await;
                let _ = fresh.response(last.clone().into_bytes()).await;
                let mut begun = scram();
                let opening = String::from_utf8(begun.opening().unwrap().to_vec()).unwrap();
                let nonce = opening.split_once(",r=").unwrap().1;
                begun.response(format!("r={nonce}abc,s=QSXC,i=1").into_bytes()).await.unwrap();
                let _ = begun.response(last.into_bytes()).await;
                assert!(!begun.is_verified());
            });
        }
    }
}
