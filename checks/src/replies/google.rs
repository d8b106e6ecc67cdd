//! What Gmail and Google Workspace answer.

use super::{READ, ROW, Row};

const GOOGLE: Row =
    Row { whose: Some("Google"), source: "https://support.google.com/a/answer/3726730", checked: READ, ..ROW };
const RELAY: Row = Row { source: "https://support.google.com/a/answer/6140680", checked: None, ..GOOGLE };

pub(super) static ROWS: &[Row] = &[
    Row {
        codes: &[454],
        words: &["too many login attempts"],
        meaning: "too many logins in a short time: every delivery process logs in anew",
        remedy: "Let Postfix keep its connections (smtp_connection_cache_on_demand) and open fewer at once \
                 (smtp_destination_concurrency_limit = 2), or use smtp-relay.gmail.com with the address registered",
        checks: &["sasl.login", "provider.limits"],
        ..GOOGLE
    },
    Row {
        codes: &[535],
        enhanced: "5.7.8",
        words: &["username and password not accepted"],
        meaning: "user and password are not accepted; the account's own password never is, it takes an application password",
        remedy: "Make an application password for the account and put it into smtp_sasl_password_maps, or log in with OAuth",
        checks: &["sasl.login", "provider.authentication"],
        ..GOOGLE
    },
    Row {
        codes: &[534, 535],
        words: &["application-specific password required"],
        meaning: "the account has two-step verification: its own password is not taken by mail clients",
        remedy: "Make an application password for the account and put it into smtp_sasl_password_maps",
        checks: &["sasl.login", "provider.authentication"],
        ..GOOGLE
    },
    Row {
        codes: &[534],
        enhanced: "5.7.14",
        meaning: "the login looks suspicious: somebody must log in with a web browser first",
        remedy: "Log in to the account with a web browser and confirm that it was you, then use an application password",
        checks: &["sasl.login", "provider.authentication"],
        ..GOOGLE
    },
    Row {
        codes: &[530],
        words: &["authentication required", "gsmtp"],
        meaning: "this host takes mail after a login only",
        remedy: "Configure the login (smtp_sasl_auth_enable, smtp_sasl_password_maps)",
        checks: &["sasl.login", "relay.accepts"],
        ..GOOGLE
    },
    Row {
        words: &["mail relay denied"],
        meaning: "the SMTP relay service knows neither this address nor the domains of EHLO and MAIL FROM",
        remedy: "Register this machine's outgoing address in the SMTP relay service of the Admin console, and let myhostname \
                 and MAIL FROM carry a domain of the account; with a user's login use smtp.gmail.com instead",
        checks: &["relay.accepts"],
        ..RELAY
    },
    Row {
        enhanced: "5.7.1",
        words: &["invalid credentials for relay"],
        meaning: "the address is registered for the SMTP relay service, and the domain of EHLO or MAIL FROM is not of that account",
        remedy: "Let myhostname and MAIL FROM carry a domain of the account, or log in",
        checks: &["relay.accepts"],
        ..RELAY
    },
    Row {
        words: &["mail sending denied"],
        meaning: "the sender is disabled, or no user of the account",
        remedy: "Send as a user of the account, or let the SMTP relay service take any address of its domains",
        checks: &["relay.accepts"],
        ..RELAY
    },
    Row {
        words: &["daily smtp relay", "limit exceeded"],
        meaning: "the SMTP relay service has taken as much as it does in 24 hours",
        remedy: "Wait, send less, or spread the mail over several users: 10,000 recipients a user and day",
        checks: &["provider.limits"],
        ..RELAY
    },
    Row {
        words: &["peak smtp relay limit exceeded"],
        meaning: "the SMTP relay service has taken as much as it does in 10 minutes",
        remedy: "Send more slowly (smtp_destination_rate_delay)",
        checks: &["provider.limits"],
        ..RELAY
    },
    Row {
        codes: &[550],
        enhanced: "5.4.5",
        meaning: "the user has sent as much as is allowed in 24 hours",
        remedy: "Wait a day; send less, or through smtp-relay.gmail.com or a service for bulk mail",
        checks: &["provider.limits"],
        ..GOOGLE
    },
    Row {
        enhanced: "*.7.26",
        words: &["authenticate with either spf or dkim"],
        meaning: "neither SPF nor DKIM passes for the message",
        remedy: "Publish an SPF record that names the outgoing address, and sign with DKIM",
        checks: &["spf.sender", "spf.record", "dkim.record"],
        ..GOOGLE
    },
    Row {
        enhanced: "*.7.26",
        words: &["the sender is unauthenticated"],
        meaning: "the sender is not authenticated: neither SPF nor DKIM passes",
        remedy: "Publish an SPF record that names the outgoing address, and sign with DKIM",
        checks: &["spf.sender", "spf.record", "dkim.record"],
        checked: None,
        ..GOOGLE
    },
    Row {
        enhanced: "*.7.26",
        words: &["hard fail"],
        meaning: "the domain's SPF record ends in -all and does not name the outgoing address",
        remedy: "Put the outgoing address into the SPF record of the MAIL FROM domain",
        checks: &["spf.sender"],
        ..GOOGLE
    },
    Row {
        enhanced: "*.7.26",
        words: &["dmarc policy"],
        meaning: "neither SPF nor DKIM passes for the domain of the From: header, and its DMARC policy says to reject then",
        remedy: "Sign with DKIM as the domain of the From: header, or let MAIL FROM carry that domain and SPF pass",
        checks: &["spf.sender", "dkim.record"],
        ..GOOGLE
    },
    Row {
        enhanced: "*.7.26",
        meaning: "the message is not authenticated: neither SPF nor DKIM passes, or DMARC fails",
        remedy: "Publish an SPF record that names the outgoing address, and sign with DKIM",
        checks: &["spf.sender", "dkim.record"],
        ..GOOGLE
    },
    Row {
        enhanced: "*.7.25",
        words: &["ptr record"],
        meaning: "the outgoing address has no PTR record, or its name does not lead back to it",
        remedy: "Let whoever owns the address publish a PTR record for it, with a name that has the address",
        checks: &["hostname.ptr"],
        ..GOOGLE
    },
    Row {
        enhanced: "*.7.23",
        words: &["ptr record"],
        meaning: "the outgoing address has no PTR record, or its name does not lead back to it: the mail is slowed down",
        remedy: "Let whoever owns the address publish a PTR record for it, with a name that has the address",
        checks: &["hostname.ptr"],
        ..GOOGLE
    },
    Row {
        words: &["does not meet ipv6 sending guidelines"],
        meaning: "over IPv6 the address needs a PTR record, and the message SPF or DKIM",
        remedy: "Publish both for the IPv6 address, or send over IPv4 alone (smtp_address_preference = ipv4, inet_protocols = ipv4)",
        checks: &["hostname.ptr", "spf.sender"],
        ..GOOGLE
    },
    Row {
        enhanced: "*.7.24",
        words: &["spf record"],
        meaning: "the SPF record of the sending domain has entries that look suspicious",
        remedy: "Take out of the SPF record what is too wide",
        checks: &["spf.network", "spf.all"],
        ..GOOGLE
    },
    Row {
        enhanced: "*.7.27",
        words: &["spf"],
        meaning: "SPF does not pass, which Gmail requires of those who send much",
        remedy: "Put the outgoing address into the SPF record of the MAIL FROM domain",
        checks: &["spf.sender"],
        ..GOOGLE
    },
    Row {
        enhanced: "*.7.28",
        words: &["unusual rate"],
        meaning: "more mail than usual comes from this address or domain, or more of it is taken for spam",
        remedy: "Send more slowly, raise the volume day by day, and see Postmaster Tools for the rate of complaints",
        ..GOOGLE
    },
    Row {
        enhanced: "*.7.29",
        words: &["tls"],
        meaning: "the message did not come over TLS, which Gmail requires of those who send much",
        remedy: "Let Postfix use TLS: smtp_tls_security_level = may at least",
        checks: &["relay.starttls"],
        ..GOOGLE
    },
    Row {
        enhanced: "*.7.30",
        words: &["dkim"],
        meaning: "DKIM does not pass, which Gmail requires of those who send much",
        remedy: "Sign with DKIM, and publish the key under the selector of the signature",
        checks: &["dkim.record", "dkim.key"],
        ..GOOGLE
    },
    Row {
        enhanced: "*.7.32",
        words: &["aligned"],
        meaning: "the domain of the From: header is not the one that SPF or DKIM passes for",
        remedy: "Sign with DKIM as the domain of the From: header, or let MAIL FROM carry it",
        checks: &["dkim.record", "spf.sender"],
        ..GOOGLE
    },
    Row {
        words: &["very low reputation"],
        meaning: "the reputation of the address or domain is very low",
        remedy: "See Postmaster Tools; stop what is complained about, then send little and wanted mail for some weeks",
        ..GOOGLE
    },
    Row {
        words: &["unusual rate of unsolicited mail"],
        meaning: "much of what comes from this address is taken for spam",
        remedy: "Look for whoever sends it (an open relay, a stolen login), then send more slowly",
        ..GOOGLE
    },
    Row {
        words: &["likely unsolicited mail"],
        meaning: "the message looks like spam",
        remedy: "Authenticate with SPF, DKIM and DMARC, and look at the content and its links",
        checks: &["spf.sender", "dkim.record"],
        ..GOOGLE
    },
    Row {
        words: &["not authorized to send email directly to our servers"],
        meaning: "the address is one of a provider's customers, who are to send through the provider's relay",
        remedy: "Send through your provider's relay (relayhost)",
        checks: &["hostname.ptr"],
        ..GOOGLE
    },
    Row {
        codes: &[421],
        words: &["try again later, closing connection"],
        meaning: "EHLO carries a name that many use (localhost, an address literal): the SMTP relay service turns those away",
        remedy: "Let myhostname be this machine's own public name",
        checks: &["hostname.fqdn", "relay.connect"],
        ..RELAY
    },
    Row {
        codes: &[452],
        enhanced: "4.2.2",
        meaning: "the recipient's mailbox is full",
        remedy: "Nothing to change here: only the recipient can make room",
        ..GOOGLE
    },
    Row {
        codes: &[552],
        words: &["message size limits"],
        meaning: "the message is bigger than Gmail takes",
        remedy: "Send less than 25 MB, which attachments reach at some 18 MB because their encoding adds a third",
        checks: &["relay.size"],
        ..GOOGLE
    },
];
