//! What Exchange Online and Outlook.com answer.

use super::{READ, ROW, Row};

const MICROSOFT: Row = Row {
    whose: Some("Microsoft"),
    source: "https://learn.microsoft.com/troubleshoot/exchange/email-delivery/ndr/non-delivery-reports-in-exchange-online",
    ..ROW
};
const BASIC: Row = Row {
    source: "https://techcommunity.microsoft.com/blog/exchange/updated-exchange-online-smtp-auth-basic-authentication-deprecation-timeline/4489835",
    checked: READ,
    ..MICROSOFT
};
const SMTP_AUTH: Row = Row {
    source: "https://learn.microsoft.com/exchange/clients-and-mobile-in-exchange-online/authenticated-client-smtp-submission",
    ..MICROSOFT
};
const CONSUMER: Row = Row {
    source: "https://support.microsoft.com/topic/fix-ndr-error-550-5-7-515-in-outlook-com-34cfe8f8-6fbf-457e-9e8b-9e4dbaf4e0ef",
    checked: READ,
    ..MICROSOFT
};

pub(super) static ROWS: &[Row] = &[
    Row {
        codes: &[535],
        words: &["smtpclientauthentication is disabled for the tenant"],
        meaning: "the tenant has SMTP AUTH switched off",
        remedy: "Allow it for this one mailbox: Set-CASMailbox -SmtpClientAuthenticationDisabled $false",
        checks: &["sasl.login", "provider.authentication"],
        ..SMTP_AUTH
    },
    Row {
        codes: &[535],
        words: &["smtpclientauthentication is disabled for the mailbox"],
        meaning: "the mailbox has SMTP AUTH switched off",
        remedy: "Allow it for this mailbox: Set-CASMailbox -SmtpClientAuthenticationDisabled $false",
        checks: &["sasl.login", "provider.authentication"],
        ..SMTP_AUTH
    },
    Row {
        codes: &[535],
        words: &["security defaults"],
        meaning: "the security defaults of the tenant forbid logins with a password",
        remedy: "Log in with OAuth (XOAUTH2), or let the tenant's administrator replace the security defaults by a policy",
        checks: &["sasl.login", "provider.authentication"],
        ..SMTP_AUTH
    },
    Row {
        codes: &[535],
        enhanced: "5.7.139",
        meaning: "the login is refused by a rule of the tenant: SMTP AUTH switched off, security defaults, conditional access",
        remedy: "Let the tenant's administrator allow SMTP AUTH for the mailbox, or log in with OAuth (XOAUTH2)",
        checks: &["sasl.login", "provider.authentication"],
        ..SMTP_AUTH
    },
    Row {
        codes: &[535],
        enhanced: "5.7.3",
        meaning: "the login is refused: wrong user or password, SMTP AUTH not allowed, or multi-factor authentication in force",
        remedy: "Try the password in a web browser, then let the administrator allow SMTP AUTH for the mailbox",
        checks: &["sasl.login", "provider.authentication"],
        ..SMTP_AUTH
    },
    Row {
        enhanced: "5.7.30",
        words: &["basic authentication"],
        meaning: "a login with a password is switched off for client submission",
        remedy: "Log in with OAuth (XOAUTH2), or send through a connector that knows this machine's address",
        checks: &["provider.authentication", "sasl.login"],
        ..BASIC
    },
    Row {
        enhanced: "5.7.57",
        words: &["not authenticated"],
        meaning: "there was no login, and this host takes mail after one only",
        remedy: "Configure the login (smtp_sasl_auth_enable, smtp_sasl_password_maps)",
        checks: &["sasl.login", "relay.accepts"],
        ..MICROSOFT
    },
    Row {
        enhanced: "5.7.60",
        words: &["send as this sender"],
        meaning: "the login is not allowed to send as this MAIL FROM or From: address",
        remedy: "Give the login's mailbox the Send As permission for the address, or send as the login's own address",
        checks: &["relay.accepts"],
        source: "https://learn.microsoft.com/exchange/mail-flow-best-practices/how-to-set-up-a-multifunction-device-or-application-to-send-email-using-microsoft-365-or-office-365",
        ..MICROSOFT
    },
    Row {
        codes: &[554],
        words: &["sendasdenied"],
        meaning: "the login is not allowed to send as the address in the From: header",
        remedy: "Give the login's mailbox the Send As permission for the address, or send as the login's own address",
        checks: &["relay.accepts"],
        ..MICROSOFT
    },
    Row {
        codes: &[432],
        enhanced: "4.3.2",
        words: &["storedrv"],
        meaning: "more connections send for one mailbox than it takes at once",
        remedy: "Open fewer connections (smtp_destination_concurrency_limit = 2); no more than 30 messages a minute",
        checks: &["provider.limits"],
        ..MICROSOFT
    },
    Row {
        enhanced: "5.2.2",
        words: &["submission quota exceeded"],
        meaning: "the mailbox has sent as much as is allowed in 24 hours, or in a minute",
        remedy: "Send less: 10,000 recipients a day and 30 messages a minute, or use a service for bulk mail",
        checks: &["provider.limits"],
        ..MICROSOFT
    },
    Row {
        enhanced: "5.1.90",
        words: &["daily limit"],
        meaning: "the mailbox has sent to as many recipients as is allowed in 24 hours",
        remedy: "Send less: 10,000 recipients a day, or use a service for bulk mail",
        checks: &["provider.limits"],
        ..MICROSOFT
    },
    Row {
        enhanced: "5.1.8",
        words: &["bad outbound sender"],
        meaning: "the account is blocked because it sent too much that looked like spam",
        remedy: "Change its password, look for what sent the mail, then let the administrator unblock the account",
        ..MICROSOFT
    },
    Row {
        enhanced: "5.7.515",
        meaning: "SPF, DKIM and DMARC do not all pass for the domain of the From: header, which Outlook.com requires of those \
                  who send much",
        remedy: "Publish SPF and DMARC records, sign with DKIM, and let one of SPF and DKIM be for the domain of the From: header",
        checks: &["spf.sender", "spf.record", "dkim.record"],
        ..CONSUMER
    },
    Row {
        enhanced: "5.7.501-503",
        words: &["access denied"],
        meaning: "the account is banned because it sent what looked like spam",
        remedy: "Look for what sent the mail and change the password, then ask Microsoft's support",
        ..MICROSOFT
    },
    Row {
        enhanced: "5.7.504",
        words: &["recipient address rejected"],
        meaning: "the recipient's address is not valid",
        remedy: "Correct the address",
        ..MICROSOFT
    },
    Row {
        enhanced: "5.7.506",
        words: &["bad helo"],
        meaning: "EHLO carries the name of the server that is spoken to, not this machine's",
        remedy: "Let myhostname be this machine's own public name",
        checks: &["hostname.fqdn", "hostname.address"],
        ..MICROSOFT
    },
    Row {
        enhanced: "5.7.507",
        words: &["rejected by recipient"],
        meaning: "the recipient's organisation has blocked the address",
        remedy: "Ask the recipient's administrator",
        ..MICROSOFT
    },
    Row {
        enhanced: "5.7.508",
        words: &["exceeded permitted limits"],
        meaning: "the IPv6 network has sent too much in too short a time",
        remedy: "Send more slowly, or over IPv4",
        ..MICROSOFT
    },
    Row {
        enhanced: "5.7.509",
        words: &["dmarc"],
        meaning: "DMARC does not pass, and the domain's policy says to reject then",
        remedy: "Sign with DKIM as the domain of the From: header, or let MAIL FROM carry it and SPF pass",
        checks: &["spf.sender", "dkim.record"],
        ..MICROSOFT
    },
    Row {
        enhanced: "5.7.510",
        words: &["ipv6"],
        meaning: "the recipient's organisation takes no mail over IPv6",
        remedy: "Send over IPv4 (inet_protocols = ipv4)",
        ..MICROSOFT
    },
    Row {
        enhanced: "5.7.511",
        words: &["banned sender"],
        meaning: "the outgoing address is banned",
        remedy: "Forward the whole reply to the address for removals that it names",
        ..MICROSOFT
    },
    Row {
        enhanced: "5.7.606-649",
        words: &["banned sending ip"],
        meaning: "the outgoing address is on Microsoft's own blocklist",
        remedy: "Ask for its removal at https://sender.office.com, after what it sent has been stopped",
        ..MICROSOFT
    },
    Row {
        enhanced: "5.7.700-749",
        words: &["tenant has exceeded threshold"],
        meaning: "most of what the tenant sends looks like spam: it may not send for now",
        remedy: "Look for a stolen login or an open connector, then ask Microsoft's support",
        ..MICROSOFT
    },
    Row {
        enhanced: "5.7.708",
        meaning: "traffic from this address is not accepted: mostly a tenant on trial, or of bad reputation",
        remedy: "Ask Microsoft's support, or send through another relay",
        ..MICROSOFT
    },
    Row {
        enhanced: "5.7.750",
        words: &["unregistered domains"],
        meaning: "the tenant relays mail for domains that it has not registered",
        remedy: "Add the sending domains to the tenant, and let MAIL FROM carry one of them",
        checks: &["relay.accepts"],
        ..MICROSOFT
    },
    Row {
        enhanced: "4.7.500-699",
        words: &["access denied, please try again later"],
        meaning: "the address has done something suspicious and is held back until that has been looked at",
        remedy: "Wait a day; if it stays so, look at what this machine sends",
        ..MICROSOFT
    },
    Row {
        enhanced: "5.7.25",
        words: &["reverse dns record"],
        meaning: "the outgoing IPv6 address has no PTR record",
        remedy: "Let whoever owns the address publish a PTR record for it, or send over IPv4 (inet_protocols = ipv4)",
        checks: &["hostname.ptr"],
        ..MICROSOFT
    },
    Row {
        words: &["network is on our block list"],
        meaning: "the outgoing address, or its network, is on the blocklist of Outlook.com",
        remedy: "Ask for its removal with the form at https://olcsupport.office.com",
        source: "https://sendersupport.olc.protection.outlook.com/pm/troubleshooting",
        ..MICROSOFT
    },
];
