//! What Yahoo, bulk senders, blocklists and Postfix answer.

use super::{READ, ROW, Row};

const YAHOO: Row = Row { whose: Some("Yahoo"), source: "https://senders.yahooinc.com/smtp-error-codes/", ..ROW };
const SES: Row = Row {
    whose: Some("Amazon SES"),
    source: "https://docs.aws.amazon.com/ses/latest/dg/troubleshoot-smtp.html",
    ..ROW
};
const SENDGRID: Row = Row {
    whose: Some("SendGrid"),
    source: "https://www.twilio.com/docs/sendgrid/for-developers/sending-email/smtp-errors-and-troubleshooting",
    checked: READ,
    ..ROW
};
const POSTFIX: Row = Row { source: "https://www.postfix.org/postconf.5.html", ..ROW };

pub(super) static ROWS: &[Row] = &[
    Row {
        codes: &[421],
        words: &["tss04"],
        meaning: "much comes from this address at once, or its mail is complained about",
        remedy: "Send more slowly, and see the complaint feedback loop of the Sender Hub",
        ..YAHOO
    },
    Row {
        codes: &[421, 451],
        words: &["deferred due to", "user complaints"],
        meaning: "users complain about the mail of this address",
        remedy: "Send less and to those who want it; see the complaint feedback loop of the Sender Hub",
        ..YAHOO
    },
    Row {
        codes: &[553],
        words: &["connections will not be accepted"],
        meaning: "the outgoing address is blocked, mostly because a blocklist has it",
        remedy: "Look for the address in the blocklists, and have it removed there",
        ..YAHOO
    },
    Row {
        codes: &[554],
        enhanced: "5.7.9",
        words: &["message not accepted for policy reasons"],
        meaning: "the message is against a policy: mostly DMARC does not pass, or the content looks harmful",
        remedy: "Sign with DKIM as the domain of the From: header; see the page that the reply names",
        checks: &["spf.sender", "dkim.record"],
        ..YAHOO
    },
    Row {
        codes: &[454],
        source: "https://docs.aws.amazon.com/ses/latest/dg/manage-sending-quotas-errors.html",
        checked: READ,
        words: &["throttling failure", "maximum sending rate"],
        meaning: "more messages a second than the account may send",
        remedy: "Send more slowly (smtp_destination_rate_delay), or ask for a higher rate",
        checks: &["provider.limits"],
        ..SES
    },
    Row {
        codes: &[454],
        source: "https://docs.aws.amazon.com/ses/latest/dg/manage-sending-quotas-errors.html",
        checked: READ,
        words: &["throttling failure", "daily message quota"],
        meaning: "the account has sent as much as it may in 24 hours",
        remedy: "Wait, or ask for a higher quota; an account in the sandbox may send 200 messages a day",
        checks: &["provider.limits"],
        ..SES
    },
    Row {
        codes: &[554],
        source: "https://docs.aws.amazon.com/ses/latest/dg/troubleshoot-error-messages.html",
        words: &["is not verified"],
        meaning: "the sender's domain or address is not verified in this region; in the sandbox the recipient's must be too",
        remedy: "Verify the domain in the region of the host name, and ask to leave the sandbox",
        checks: &["relay.accepts"],
        ..SES
    },
    Row {
        codes: &[535],
        words: &["authentication credentials invalid"],
        meaning: "the login is not one of this region's SMTP credentials; access keys of IAM are not",
        remedy: "Make SMTP credentials in the console of the region that the host name carries",
        checks: &["sasl.login", "provider.authentication"],
        ..SES
    },
    Row {
        codes: &[451],
        words: &["maximum credits exceeded"],
        meaning: "the account has used up its messages, or is on hold",
        remedy: "Wait for the next period, or change the plan",
        checks: &["provider.limits", "sasl.login"],
        ..SENDGRID
    },
    Row {
        words: &["does not match a verified sender identity"],
        meaning: "the From: address is not verified in the account",
        remedy: "Verify the domain (sender authentication), or the single address",
        checks: &["relay.accepts"],
        ..SENDGRID
    },
    Row {
        words: &["not authorized to send from that email address"],
        meaning: "the From: address is not verified in the account",
        remedy: "Verify the domain (sender authentication), or the single address",
        checks: &["relay.accepts"],
        ..SENDGRID
    },
    Row {
        words: &["blocked", "spamhaus"],
        meaning: "the outgoing address, or a name of the message, is on a blocklist of Spamhaus",
        remedy: "See the reason at https://check.spamhaus.org and have it removed there; a PBL entry means: send through a relay",
        source: "https://www.spamhaus.org/faqs/",
        ..ROW
    },
    Row {
        words: &["blocked using"],
        meaning: "the outgoing address is on the blocklist that the reply names",
        remedy: "See that blocklist's page for the reason, stop it, and ask for removal",
        ..POSTFIX
    },
    Row {
        words: &["relay access denied"],
        meaning: "the server is neither the final destination of the recipient nor willing to relay for this client",
        remedy: "Log in (smtp_sasl_auth_enable), or let the relay's operator allow this machine's address (mynetworks)",
        checks: &["relay.accepts", "sasl.login"],
        ..POSTFIX
    },
    Row {
        words: &["relaying denied"],
        meaning: "the server is neither the final destination of the recipient nor willing to relay for this client",
        remedy: "Log in (smtp_sasl_auth_enable), or let the relay's operator allow this machine's address",
        checks: &["relay.accepts", "sasl.login"],
        source: "RFC 5321 section 3.6.2",
        ..ROW
    },
    Row {
        codes: &[421, 450, 451],
        words: &["greylist"],
        meaning: "the server greylists: it takes the mail of a client it does not know at a later try only",
        remedy: "Nothing to change: Postfix tries again; ask for an exception where the delay matters",
        checks: &["relay.accepts"],
        source: "RFC 6647 section 2",
        ..ROW
    },
    Row {
        codes: &[421, 450, 451],
        words: &["graylist"],
        meaning: "the server greylists: it takes the mail of a client it does not know at a later try only",
        remedy: "Nothing to change: Postfix tries again; ask for an exception where the delay matters",
        checks: &["relay.accepts"],
        source: "RFC 6647 section 2",
        ..ROW
    },
    Row {
        words: &["cannot find your hostname"],
        meaning: "the outgoing address has no PTR record whose name leads back to it (reject_unknown_client_hostname)",
        remedy: "Let whoever owns the address publish a PTR record for it, with a name that has the address",
        checks: &["hostname.ptr"],
        ..POSTFIX
    },
    Row {
        words: &["cannot find your reverse hostname"],
        meaning: "the outgoing address has no PTR record (reject_unknown_reverse_client_hostname)",
        remedy: "Let whoever owns the address publish a PTR record for it",
        checks: &["hostname.ptr"],
        ..POSTFIX
    },
    Row {
        words: &["helo command rejected", "fully-qualified"],
        meaning: "EHLO carries a name without a dot (reject_non_fqdn_helo_hostname)",
        remedy: "Let myhostname, or smtp_helo_name where it is set, be this machine's full public name",
        checks: &["hostname.fqdn", "relay.connect"],
        ..POSTFIX
    },
    Row {
        words: &["helo command rejected", "host not found"],
        meaning: "the name in EHLO has no address and no MX (reject_unknown_helo_hostname)",
        remedy: "Publish the address of myhostname, or set smtp_helo_name to a name that has one",
        checks: &["hostname.address", "relay.connect"],
        ..POSTFIX
    },
    Row {
        words: &["helo command rejected"],
        meaning: "the server does not like the name in EHLO",
        remedy: "Let myhostname, or smtp_helo_name where it is set, be this machine's full public name, with an address",
        checks: &["hostname.fqdn", "hostname.address", "relay.connect"],
        ..POSTFIX
    },
    Row {
        words: &["sender address rejected", "domain not found"],
        meaning: "the domain of MAIL FROM has neither MX nor address (reject_unknown_sender_domain)",
        remedy: "Let MAIL FROM carry a domain that can get mail, or publish an MX record for it",
        checks: &["mx.record", "mx.address", "relay.accepts"],
        ..POSTFIX
    },
    Row {
        words: &["sender address rejected", "not owned by user"],
        meaning: "the login may not send as this MAIL FROM address (reject_sender_login_mismatch)",
        remedy: "Send as an address of the login, or let the relay's operator add this one (smtpd_sender_login_maps)",
        checks: &["relay.accepts"],
        ..POSTFIX
    },
    Row {
        words: &["must issue a starttls command first"],
        meaning: "the server takes mail over TLS only",
        remedy: "Let Postfix use TLS: smtp_tls_security_level = encrypt",
        checks: &["relay.starttls"],
        source: "RFC 3207 section 4",
        ..ROW
    },
    Row {
        words: &["user unknown"],
        meaning: "there is no such mailbox",
        is_of_recipient: true,
        remedy: "Correct the recipient's address",
        checks: &["relay.accepts"],
        source: "RFC 3463 section 3.2",
        ..ROW
    },
];
