//! Relays that many use, and whose record must be included because their outgoing addresses are theirs to change.

use crate::{Name, target::Host};

/// A relay that many use.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Provider {
    pub(super) name: &'static str,
    /// What the names of its relays end in.
    suffix: &'static str,
    /// The domain whose record has its addresses.
    pub(super) include: &'static str,
    /// Whether MAIL FROM keeps the sender's domain; else the provider puts its own, and SPF is judged there.
    pub(super) keeps_mail_from: bool,
}

/// From the providers' own set-up pages.
static PROVIDERS: &[Provider] = &[
    Provider { name: "Google", suffix: "gmail.com", include: "_spf.google.com", keeps_mail_from: true },
    Provider { name: "Microsoft 365", suffix: "office365.com", include: "spf.protection.outlook.com", keeps_mail_from: true },
    Provider { name: "Microsoft 365", suffix: "mail.protection.outlook.com", include: "spf.protection.outlook.com", keeps_mail_from: true },
    Provider { name: "Amazon SES", suffix: "amazonaws.com", include: "amazonses.com", keeps_mail_from: false },
    Provider { name: "SendGrid", suffix: "sendgrid.net", include: "sendgrid.net", keeps_mail_from: false },
    Provider { name: "Mailgun", suffix: "mailgun.org", include: "mailgun.org", keeps_mail_from: true },
    Provider { name: "Postmark", suffix: "postmarkapp.com", include: "spf.mtasv.net", keeps_mail_from: false },
    Provider { name: "Mandrill", suffix: "mandrillapp.com", include: "spf.mandrillapp.com", keeps_mail_from: false },
    Provider { name: "Mailjet", suffix: "mailjet.com", include: "spf.mailjet.com", keeps_mail_from: false },
    Provider { name: "Brevo", suffix: "brevo.com", include: "spf.brevo.com", keeps_mail_from: false },
    Provider { name: "Fastmail", suffix: "fastmail.com", include: "spf.messagingengine.com", keeps_mail_from: true },
    Provider { name: "Zoho Mail", suffix: "zoho.com", include: "zohomail.com", keeps_mail_from: true },
    Provider { name: "Zoho Mail", suffix: "zoho.eu", include: "zohomail.eu", keeps_mail_from: true },
    Provider { name: "Proton Mail", suffix: "protonmail.ch", include: "_spf.protonmail.ch", keeps_mail_from: true },
    Provider { name: "Migadu", suffix: "migadu.com", include: "spf.migadu.com", keeps_mail_from: true },
];

/// Whose relay a host is, if it is one of those.
pub(super) fn provider(host: &Host) -> Option<&'static Provider> {
    let Host::Name(name) = host else { return None };
    PROVIDERS.iter().find(|provider| provider.suffix.parse().is_ok_and(|suffix| name.is_within(&suffix)))
}

/// The provider's record whose name differs from `target` in one label, by a slip of the finger.
pub(super) fn nearest_include(target: &Name) -> Option<Name> {
    let text = target.to_string();
    let slip = |provider: &&Provider| {
        let (ours, theirs) = (provider.include.split('.'), text.split('.'));
        let differing = ours.clone().zip(theirs.clone()).filter(|(a, b)| a != b).count();
        ours.count() == theirs.count() && differing == 1 && strsim::levenshtein(provider.include, &text) <= 2
    };
    PROVIDERS.iter().find(slip)?.include.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_entry_can_be_found_by_its_suffix() {
        for entry in PROVIDERS {
            let found = provider(&Host::Name(format!("smtp.{}", entry.suffix).parse().unwrap()));
            assert_eq!(found, Some(entry));
            assert!(entry.include.parse::<Name>().is_ok());
        }
        assert_eq!(provider(&Host::Name("smtp.example.net".parse().unwrap())), None);
    }
}
