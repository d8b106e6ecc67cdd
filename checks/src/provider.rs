//! What is known of the relay's provider beforehand: its limits, and how one logs in there.

use std::time::{Duration, UNIX_EPOCH};

use syntax::{Host, shell, text::timestamp};

use self::data::{Deadline, Limit, Login, SERVICES, Service, service};
use crate::{Abstain, Context, Finding, Fix, check::checks, target};

mod data;

checks! {
    /// The relay's provider is known.
    ///
    /// Providers publish how much a relay takes in a day and how one logs in there. Their relays are told by their host
    /// names; of another relay its operator knows the same (RFC 6409 section 3.3 leaves the rules of submission to the site).
    ///
    /// # Fix
    /// Nothing: where the relay is not one of these, ask its operator for its limits.
    "provider.known" ("RFC 6409 section 3.3") => known,

    /// What leaves on a day stays well within the provider's limit.
    ///
    /// Beyond its limit a provider refuses all mail until the 24 hours are over, password resets and alarms among it.
    /// `--per-day` says how many messages there are; more than half of the limit is a warning, for a busy day doubles them
    /// easily (RFC 6409 section 3.3 leaves the rules of submission to the site).
    ///
    /// # Fix
    /// Send less, or through a service for such volumes.
    "provider.limits" ("RFC 6409 section 3.3") => limits,

    /// The provider goes on taking logins of this kind.
    ///
    /// Large providers give up logins with a password: the mail then stops from one day to the next, with a 5yz reply to
    /// AUTH (RFC 4954 section 6).
    ///
    /// # Fix
    /// Log in with OAuth, or with what the provider makes for the purpose; or send through a connector that knows this
    /// machine's address.
    "provider.authentication" ("RFC 4954 section 6") => authentication,
}

/// The services of the table.
pub fn services() -> impl Iterator<Item = &'static Service> {
    SERVICES.iter()
}

/// What the table of replies calls the provider of `host`.
pub(crate) fn named(host: &Host) -> Option<&'static str> {
    service(host).map(|service| service.whose)
}

async fn known(cx: &Context) -> Result<Vec<Finding>, Abstain> {
    every(cx, |_, service| {
        Ok(Finding::pass(service.name).fact("provider", service.whose).fact("service", service.name))
    })
}

async fn limits(cx: &Context) -> Result<Vec<Finding>, Abstain> {
    every(cx, |cx, service| {
        let (a_day, of, besides) = match service.limit {
            Limit::Published { a_day, of, besides } => (a_day, of, besides),
            Limit::Account(place) => {
                return Err(Abstain::NotApplicable(format!("the limit depends on the account: see {place}")));
            }
        };
        let limit = format!("{} allows {a_day} {of} in 24 hours ({besides})", service.name);
        let Some(per_day) = cx.target.per_day else {
            return Err(Abstain::NotApplicable(format!("{limit}; how many there will be, --per-day says")));
        };
        let message = format!("{per_day} messages a day; {limit}");
        let finding = if per_day > a_day {
            Finding::fail(message)
        } else if per_day > a_day / 2 {
            Finding::warn(message)
        } else {
            Finding::pass(message)
        };
        let advice = "Send less, or through a relay for such volumes; count every recipient of a message";
        let finding = finding.fact("per_day", per_day).fact("limit", a_day).fact("source", service.source);
        let finding = match service.checked {
            Some(day) => finding.fact("checked", day),
            None => finding,
        };
        Ok(finding.fix(Fix::Advice(advice.to_owned())))
    })
}

async fn authentication(cx: &Context) -> Result<Vec<Finding>, Abstain> {
    every(cx, |cx, service| {
        let Some(credentials) = &cx.target.sasl else {
            return match service.login {
                Login::Unneeded(why) => Ok(Finding::pass(format!("no login, and none is needed: {why}"))),
                _ => Err(Abstain::NotApplicable("no credentials given".to_owned())),
            };
        };
        if matches!(credentials.login, target::Login::Token(_)) {
            return Ok(Finding::pass("the login is made with OAuth"));
        }
        Ok(match &service.login {
            Login::Issued(what) => Finding::pass(format!("{} has its own credentials: {what}", service.name)),
            Login::ApplicationPassword => {
                Finding::pass("a password is taken where it is an application password; the account's own is refused")
            }
            Login::Unneeded(why) => Finding::warn(format!("a login with a password, and {}: {why}", service.name))
                .fix(Fix::Advice("Leave the login out (smtp_sasl_auth_enable = no)".to_owned())),
            Login::PasswordUntil(deadline) => until(cx, service, deadline),
        })
    })
}

/// A login with a password, held against the day from which it is off by default.
fn until(cx: &Context, service: &Service, deadline: &Deadline) -> Finding {
    let day = UNIX_EPOCH + Duration::from_secs(deadline.at);
    let announced = deadline.announced;
    let finding = match day.duration_since(cx.now) {
        Ok(left) => {
            let days = left.as_secs() / 86_400;
            let message = format!(
                "{} switches logins with a password off by default at the {announced}: {days} days left",
                service.name
            );
            Finding::warn(message).fact("days_left", days)
        }
        Err(_) => Finding::fail(format!(
            "logins with a password are off by default at {} since the {announced}; only the tenant's administrator \
             can have switched them on again",
            service.name
        )),
    };
    let advice = "Log in with OAuth (--sasl-token-file), or send through a connector that knows this machine's address; \
                  until then the tenant's administrator can switch SMTP AUTH with a password on again";
    let finding = finding.fact("deadline", timestamp(day)).fact("source", deadline.source);
    finding.fix(Fix::Advice(advice.to_owned()))
}

/// One finding for each host of relayhost, the provider's or not.
fn every(
    cx: &Context,
    judge: impl Fn(&Context, &'static Service) -> Result<Finding, Abstain>,
) -> Result<Vec<Finding>, Abstain> {
    let Some(relay) = &cx.target.relay else {
        return Err(Abstain::NotApplicable("no relay given: mail is sent directly".to_owned()));
    };
    let mut hosts: Vec<&Host> = Vec::new();
    for hop in relay.next_hops() {
        if !hosts.contains(&&hop.host) {
            hosts.push(&hop.host);
        }
    }
    let judged = hosts.into_iter().map(|host| {
        let verdict = match service(host) {
            Some(service) => judge(cx, service).map(|finding| finding.saw([seen(host, service)])),
            None => {
                Err(Abstain::NotApplicable("not a provider of the table: its operator knows its limits".to_owned()))
            }
        };
        Finding::from(verdict).about(host)
    });
    Ok(judged.collect())
}

/// The provider's own page.
fn seen(host: &Host, service: &Service) -> crate::Evidence {
    let (command, output) = match service.source {
        "" => (format!("host {}", shell::operand(&host.to_string())), format!("(a host of {})", service.name)),
        source => {
            let read =
                service.checked.map_or_else(|| "(not compared with it)".to_owned(), |day| format!("(read {day})"));
            (format!("curl -sL {source}"), read)
        }
    };
    crate::Evidence { command, output }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_service_is_known_by_its_host() {
        for entry in services() {
            let host = Host::Name(entry.example().parse().unwrap());
            assert_eq!(service(&host).map(|found| found.name), Some(entry.name));
            assert!(entry.source.starts_with("https://") || (entry.source.is_empty() && entry.checked.is_none()));
        }
        for name in ["smtp.example.net", "example.com"] {
            assert!(service(&Host::Name(name.parse().unwrap())).is_none());
        }
        for entry in services() {
            let near = format!("x{}", entry.suffix).parse().unwrap();
            assert!(service(&Host::Name(near)).is_none(), "{}", entry.suffix);
        }
    }

    #[test]
    fn deadlines_are_the_days_that_were_announced() {
        let deadlines = services().filter_map(|service| match &service.login {
            Login::PasswordUntil(deadline) => Some(deadline),
            _ => None,
        });
        for deadline in deadlines {
            let last = UNIX_EPOCH + Duration::from_secs(deadline.at - 1);
            assert_eq!(timestamp(last), "2026-12-31T23:59:59Z");
        }
    }
}
