//! Relays that many use, and whose record must be included because their outgoing addresses are theirs to change.

use syntax::{Host, Name};

/// A relay that many use.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Provider {
    pub(super) name: &'static str,
    /// What the names of its relays begin with, where their domain has other hosts too.
    prefix: &'static str,
    /// What the names of its relays end in.
    suffix: &'static str,
    /// The domain whose record has its addresses.
    pub(super) include: &'static str,
    /// Whether MAIL FROM keeps the sender's domain; else the provider puts its own, and SPF is judged there.
    pub(super) keeps_mail_from: bool,
}

/// The date of the table: what the providers' set-up pages said by then, as far as they could be read.
pub(super) const CHECKED: &str = "2026-11-20";

static PROVIDERS: &[Provider] = &[
    keeping("Google", "gmail.com", "_spf.google.com"),
    keeping("Microsoft 365", "office365.com", "spf.protection.outlook.com"),
    keeping("Microsoft 365", "mail.protection.outlook.com", "spf.protection.outlook.com"),
    keeping("Mailgun", "mailgun.org", "mailgun.org"),
    keeping("Fastmail", "fastmail.com", "spf.messagingengine.com"),
    Provider { prefix: "email-smtp.", ..replacing("Amazon SES", "amazonaws.com", "amazonses.com") },
    replacing("SendGrid", "sendgrid.net", "sendgrid.net"),
    replacing("Postmark", "postmarkapp.com", "spf.mtasv.net"),
    replacing("Mandrill", "mandrillapp.com", "spf.mandrillapp.com"),
    replacing("Mailjet", "mailjet.com", "spf.mailjet.com"),
    replacing("Brevo", "brevo.com", "spf.brevo.com"),
];

/// A provider that leaves MAIL FROM alone.
const fn keeping(name: &'static str, suffix: &'static str, include: &'static str) -> Provider {
    Provider { name, prefix: "", suffix, include, keeps_mail_from: true }
}

/// A provider that puts a domain of its own in MAIL FROM, unless a custom one is set up there.
const fn replacing(name: &'static str, suffix: &'static str, include: &'static str) -> Provider {
    Provider { name, prefix: "", suffix, include, keeps_mail_from: false }
}

/// Whose relay a host is, if it is one of those.
pub(super) fn provider(host: &Host) -> Option<&'static Provider> {
    let Host::Name(name) = host else { return None };
    let is_its = |provider: &&Provider| {
        let ends_so = provider.suffix.parse().is_ok_and(|suffix| name.is_within(&suffix));
        ends_so && name.to_string().starts_with(provider.prefix)
    };
    PROVIDERS.iter().find(is_its)
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
            let found = provider(&Host::Name(format!("{}smtp.{}", entry.prefix, entry.suffix).parse().unwrap()));
            assert_eq!(found, Some(entry));
            assert!(entry.include.parse::<Name>().is_ok());
        }
        assert_eq!(provider(&Host::Name("smtp.example.net".parse().unwrap())), None);
    }
}
