//! Relays of providers: how they are known, what they take in a day, and how one logs in there.

use syntax::{Host, Name};

/// A relay of a provider.
#[derive(Debug)]
pub struct Service {
    /// What it is called.
    pub name: &'static str,
    /// Whose replies it gives, as the table of replies calls them.
    pub(crate) whose: &'static str,
    /// What the names of its hosts begin with; all of those in the domain without.
    prefix: &'static str,
    /// The host, or the domain of the hosts.
    pub suffix: &'static str,
    /// How much it takes.
    pub(super) limit: Limit,
    /// Who says so.
    pub(super) source: &'static str,
    /// When that was last read; nothing where it was not.
    pub(super) checked: Option<&'static str>,
    /// How one logs in.
    pub(super) login: Login,
}

/// How much a relay takes in 24 hours.
#[derive(Debug)]
pub(super) enum Limit {
    /// The same for everybody: how many, of what, and what else is to be known.
    Published { a_day: u64, of: &'static str, besides: &'static str },
    /// It depends on the account: where to look it up.
    Account(&'static str),
}

/// How one logs in to a relay.
#[derive(Debug)]
pub(super) enum Login {
    /// With what the provider makes for the purpose.
    Issued(&'static str),
    /// With an application password or OAuth; the account's own password is refused.
    ApplicationPassword,
    /// Without: by address or certificate.
    Unneeded(&'static str),
    /// With a password until a day, and by exception only after it.
    PasswordUntil(Deadline),
}

/// A day from which a login with a password is off by default.
#[derive(Debug)]
pub(super) struct Deadline {
    /// Its first second, since 1970.
    pub(super) at: u64,
    /// As it was announced.
    pub(super) announced: &'static str,
    /// Who says so.
    pub(super) source: &'static str,
}

/// 2027-01-01, the first day after "end of December 2026".
const BASIC_AUTHENTICATION: Deadline = Deadline {
    at: 1_798_761_600,
    announced: "end of December 2026",
    source: "https://techcommunity.microsoft.com/blog/exchange/updated-exchange-online-smtp-auth-basic-authentication-deprecation-timeline/4489835",
};

/// A service whose limit depends on the account.
const fn by_account(name: &'static str, suffix: &'static str, look: &'static str, key: &'static str) -> Service {
    Service {
        name,
        whose: name,
        prefix: "",
        suffix,
        limit: Limit::Account(look),
        source: "",
        checked: None,
        login: Login::Issued(key),
    }
}

pub(super) static SERVICES: &[Service] = &[
    Service {
        name: "Gmail",
        whose: "Google",
        prefix: "",
        suffix: "smtp.gmail.com",
        limit: Limit::Published {
            a_day: 2_000,
            of: "messages a user",
            besides: "500 for an account without Google Workspace or on trial",
        },
        source: "https://support.google.com/a/answer/166852",
        checked: Some("2026-11-21"),
        login: Login::ApplicationPassword,
    },
    Service {
        name: "Google Workspace SMTP relay",
        whose: "Google",
        prefix: "",
        suffix: "smtp-relay.gmail.com",
        limit: Limit::Published { a_day: 10_000, of: "messages a user", besides: "and 100 recipients a transaction" },
        source: "https://support.google.com/a/answer/2956491",
        checked: None,
        login: Login::ApplicationPassword,
    },
    Service {
        name: "Exchange Online client submission",
        whose: "Microsoft",
        prefix: "",
        suffix: "smtp.office365.com",
        limit: Limit::Published { a_day: 10_000, of: "recipients a mailbox", besides: "and 30 messages a minute" },
        source: "https://learn.microsoft.com/office365/servicedescriptions/exchange-online-service-description/exchange-online-limits",
        checked: None,
        login: Login::PasswordUntil(BASIC_AUTHENTICATION),
    },
    Service {
        name: "Exchange Online connector",
        whose: "Microsoft",
        prefix: "",
        suffix: "mail.protection.outlook.com",
        limit: Limit::Account("the tenant's outbound limits in the Exchange admin center (TERRL)"),
        source: "https://learn.microsoft.com/defender-office-365/outbound-spam-sending-limits-troubleshoot",
        checked: None,
        login: Login::Unneeded("the connector knows the client by its address or certificate"),
    },
    Service {
        name: "Outlook.com",
        whose: "Microsoft",
        prefix: "",
        suffix: "smtp-mail.outlook.com",
        limit: Limit::Account("the account's sending limits at https://support.microsoft.com"),
        source: "",
        checked: None,
        login: Login::Issued("OAuth (XOAUTH2): Outlook.com takes no passwords"),
    },
    Service {
        prefix: "email-smtp.",
        ..by_account(
            "Amazon SES",
            "amazonaws.com",
            "the account's sending quota in the SES console of the region",
            "SMTP credentials of the region; access keys of IAM are others",
        )
    },
    by_account("SendGrid", "smtp.sendgrid.net", "the plan in the SendGrid account", "the user apikey and an API key"),
    by_account("Mailgun", "mailgun.org", "the plan in the Mailgun account", "the SMTP credentials of the domain"),
    by_account(
        "Postmark",
        "smtp.postmarkapp.com",
        "the plan in the Postmark account",
        "a server token, as user and as password",
    ),
    by_account("Brevo", "smtp-relay.brevo.com", "the plan in the Brevo account", "an SMTP key"),
    by_account("Mailjet", "in-v3.mailjet.com", "the plan in the Mailjet account", "API key and secret key"),
    by_account(
        "SparkPost",
        "smtp.sparkpostmail.com",
        "the plan in the SparkPost account",
        "the user SMTP_Injection and an API key",
    ),
];

/// The service that a relay is, if it is one of those.
pub(super) fn service(host: &Host) -> Option<&'static Service> {
    let Host::Name(name) = host else { return None };
    SERVICES.iter().find(|service| service.includes(name))
}

impl Service {
    /// A name that one of its hosts could have.
    pub fn example(&self) -> String {
        match self.prefix {
            "" => self.suffix.to_owned(),
            prefix => format!("{prefix}region.{}", self.suffix),
        }
    }

    fn includes(&self, name: &Name) -> bool {
        self.suffix.parse().is_ok_and(|suffix| name.is_within(&suffix)) && name.to_string().starts_with(self.prefix)
    }
}
