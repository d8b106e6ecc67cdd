//! The codes of the standards: an answer for every reply that is well-formed.

use super::{Quote, ROW, Row};

/// Enhanced codes by subject and detail, whatever their class (RFC 3463 section 3 and later).
static ENHANCED: &[Row] = &[
    enhanced("*.1.1", "there is no such mailbox at the recipient's domain", "Correct the recipient's address"),
    enhanced("*.1.2", "the recipient's domain takes no mail, or does not exist", "Correct the recipient's domain"),
    enhanced("*.1.3", "the recipient's address is not written as an address is", "Correct the recipient's address"),
    enhanced("*.1.6", "the mailbox has moved and left no address", "Ask the recipient for the new address"),
    enhanced("*.1.7", "the sender's address is not written as an address is", "Correct MAIL FROM (Postfix's myorigin)"),
    Row {
        checks: &["mx.record", "mx.address"],
        ..enhanced(
            "*.1.8",
            "the sender's domain has no MX and no address",
            "Publish an MX record for the MAIL FROM domain",
        )
    },
    Row {
        source: "RFC 7505 section 4.2",
        ..enhanced("*.1.10", "the recipient's domain has a null MX: it takes no mail", "Correct the recipient's domain")
    },
    enhanced("*.2.1", "the mailbox is switched off, or gets too much at once", "Ask the recipient; send more slowly"),
    enhanced(
        "*.2.2",
        "the mailbox is full, or its quota is used up",
        "Nothing to change here: the owner must make room",
    ),
    Row {
        checks: &["relay.size"],
        ..enhanced("*.2.3", "the message is bigger than this mailbox takes", "Send a smaller message")
    },
    enhanced("*.3.1", "the server has no room for mail", "Try again later"),
    enhanced("*.3.2", "the server takes no mail at the moment", "Try again later"),
    enhanced(
        "*.3.3",
        "the server lacks a feature that the message needs",
        "Look at what EHLO offers: 8BITMIME, SMTPUTF8",
    ),
    Row {
        checks: &["relay.size"],
        ..enhanced(
            "*.3.4",
            "the message is too big for the server",
            "Send a smaller one; let message_size_limit be what the relay takes",
        )
    },
    enhanced("*.4.1", "the recipient's server does not answer", "Try again later"),
    enhanced("*.4.2", "the connection broke, or took too long", "Try again later; look for a firewall in between"),
    Row {
        checks: &["mx.record"],
        ..enhanced("*.4.4", "DNS knows no way to the recipient's server", "Look at the recipient domain's MX records")
    },
    enhanced("*.4.5", "the server is overloaded, or a limit is reached", "Send more slowly"),
    enhanced("*.4.6", "the mail goes round in a loop", "Look at relayhost, transport_maps and mydestination"),
    enhanced("*.4.7", "the message was not delivered in time", "See the earlier replies in the log for the cause"),
    enhanced("*.5.1", "a command was not expected here", "Look for a middlebox that changes the dialogue"),
    enhanced(
        "*.5.2",
        "a command was not understood",
        "Look for a middlebox that changes the dialogue; see the name in EHLO",
    ),
    enhanced("*.5.3", "too many recipients in one message", "Let smtp_destination_recipient_limit be smaller"),
    enhanced("*.5.4", "the argument of a command is not allowed", "Look at the name in EHLO and at the addresses"),
    enhanced("*.6.0", "the message is malformed", "Look at its headers and at its MIME structure"),
    enhanced("*.6.1", "the kind of content is not taken", "Send the content in another form"),
    Row {
        source: "RFC 6531 section 4.3",
        ..enhanced("*.6.7", "the server does not take addresses with letters beyond ASCII", "Use an ASCII address")
    },
    Row {
        checks: &["relay.accepts", "spf.sender", "hostname.ptr"],
        ..enhanced(
            "*.7.0",
            "a rule of the server forbids it",
            "See the text of the reply, and ask the server's operator",
        )
    },
    Row {
        checks: &["relay.accepts", "spf.sender", "hostname.ptr"],
        ..enhanced(
            "*.7.1",
            "a rule of the server forbids this sender, client or recipient",
            "See the text of the reply, and ask the server's operator",
        )
    },
    enhanced("*.7.3", "the login was not possible in this way", "Log in with another mechanism or password"),
    Row {
        checks: &["sasl.mechanisms"],
        source: "RFC 4954 section 6",
        ..enhanced("*.7.4", "the login mechanism is not known or not offered", "Use a mechanism that AUTH offers")
    },
    enhanced("*.7.5", "something about cryptography failed", "Look at the certificates and keys of both sides"),
    Row {
        checks: &["sasl.login"],
        source: "RFC 4954 section 6",
        ..enhanced(
            "*.7.8",
            "the server does not accept user and password",
            "Correct smtp_sasl_password_maps and run postmap on it",
        )
    },
    Row {
        checks: &["sasl.login"],
        source: "RFC 4954 section 6",
        ..enhanced(
            "*.7.9",
            "the login mechanism is too weak for this user",
            "Use a stronger mechanism or an application password",
        )
    },
    Row {
        checks: &["relay.starttls"],
        source: "RFC 4954 section 6",
        ..enhanced("*.7.11", "this login needs encryption", "Let Postfix use TLS: smtp_tls_security_level = encrypt")
    },
    Row {
        source: "RFC 7372 section 3.1",
        checks: &["dkim.record", "dkim.key"],
        ..enhanced(
            "*.7.20",
            "no DKIM signature passes",
            "Sign with DKIM, and publish the key under the signature's selector",
        )
    },
    Row {
        source: "RFC 7372 section 3.2",
        checks: &["spf.sender", "spf.record"],
        ..enhanced(
            "*.7.23",
            "SPF fails for the MAIL FROM domain",
            "Put the outgoing address into the domain's SPF record",
        )
    },
    Row {
        source: "RFC 7372 section 3.2",
        checks: &["spf.record", "spf.syntax", "spf.lookups"],
        ..enhanced(
            "*.7.24",
            "the SPF record of the MAIL FROM domain could not be evaluated",
            "Correct the domain's SPF record",
        )
    },
    Row {
        source: "RFC 7372 section 3.3",
        checks: &["hostname.ptr"],
        ..enhanced(
            "*.7.25",
            "the outgoing address has no PTR record whose name leads back to it",
            "Let whoever owns the address publish a PTR record",
        )
    },
    Row {
        source: "RFC 7372 section 3.4",
        checks: &["spf.sender", "dkim.record"],
        ..enhanced("*.7.26", "more than one kind of authentication failed", "Publish SPF, and sign with DKIM")
    },
    Row {
        source: "RFC 7505 section 4.2",
        checks: &["mx.record"],
        ..enhanced(
            "*.7.27",
            "the sender's domain has a null MX: nobody can answer",
            "Let MAIL FROM carry a domain that takes mail",
        )
    },
    Row {
        source: "RFC 8689 section 4.2.1",
        ..enhanced(
            "*.7.30",
            "the message requires TLS all the way, and the next server has none",
            "Send it without REQUIRETLS",
        )
    },
];

/// Enhanced codes by subject (RFC 3463 section 3).
static SUBJECTS: &[Row] = &[
    enhanced("*.0.0-999", "the server says no more than that", "See the text of the reply"),
    enhanced("*.1.0-999", "something is wrong with an address", "See the text of the reply; correct the address"),
    enhanced("*.2.0-999", "something is wrong with the mailbox", "See the text of the reply; ask the recipient"),
    enhanced(
        "*.3.0-999",
        "something is wrong with the recipient's mail system",
        "See the text of the reply; try again later",
    ),
    enhanced(
        "*.4.0-999",
        "something is wrong on the way to the recipient",
        "See the text of the reply; try again later",
    ),
    enhanced(
        "*.5.0-999",
        "the two servers do not understand each other",
        "See the text of the reply; look for a middlebox",
    ),
    enhanced("*.6.0-999", "something is wrong with the content of the message", "See the text of the reply"),
    Row {
        checks: &["relay.accepts", "spf.sender", "hostname.ptr"],
        ..enhanced(
            "*.7.0-999",
            "a rule of security or policy forbids it",
            "See the text of the reply, and ask the server's operator",
        )
    },
];

/// Reply codes, the particular before the class (RFC 5321 sections 4.2.1 and 4.2.3).
static CODES: &[Row] = &[
    code(&[220], "the server is ready", "Nothing to do"),
    code(&[221], "the server says goodbye", "Nothing to do"),
    Row { source: "RFC 4954 section 6", ..code(&[235], "the login is accepted", "Nothing to do") },
    code(&[250, 251], "done", "Nothing to do"),
    code(&[252], "the server does not say whether the mailbox exists, and takes mail for it", "Nothing to do"),
    Row {
        source: "RFC 4954 section 4",
        ..code(&[334], "the server waits for the next part of the login", "Nothing to do")
    },
    code(&[354], "the server waits for the message", "Nothing to do"),
    Row {
        checks: &["relay.connect"],
        ..code(
            &[421],
            "the server is not available and closes the connection: too busy, too many connections, or too much mail",
            "Try again later; open fewer connections and send more slowly",
        )
    },
    code(
        &[450],
        "the mailbox is not available for now: busy, greylisted, or held back by a rule",
        "Postfix tries again; see the text of the reply if it stays so",
    ),
    code(&[451], "something went wrong in the server", "Postfix tries again; see the text of the reply if it stays so"),
    code(&[452], "the server has no room for now, or too many recipients", "Postfix tries again"),
    Row {
        checks: &["sasl.login", "relay.starttls"],
        source: "RFC 4954 section 6",
        ..code(&[454], "the login, or TLS, is not possible for now", "Try again later; log in less often")
    },
    code(&[455], "the parameters cannot be honoured for now", "Postfix tries again"),
    code(
        &[500, 501, 502, 503, 504, 555],
        "a command, or its argument, was not understood, not expected or not allowed",
        "Look at the name in EHLO and at the addresses; look for a middlebox that changes the dialogue",
    ),
    Row {
        source: "RFC 7504 section 3",
        ..code(
            &[521, 556],
            "the host, or the recipient's domain, takes no mail at all",
            "Correct relayhost, or the recipient's domain",
        )
    },
    Row {
        checks: &["sasl.login", "relay.accepts", "relay.starttls"],
        source: "RFC 4954 section 6",
        ..code(
            &[530],
            "the server wants a login, or STARTTLS, first",
            "Configure the login (smtp_sasl_auth_enable) and TLS",
        )
    },
    Row {
        checks: &["sasl.login"],
        source: "RFC 4954 section 6",
        ..code(
            &[534],
            "the login mechanism is too weak for this user",
            "Use a stronger mechanism or an application password",
        )
    },
    Row {
        checks: &["sasl.login"],
        source: "RFC 4954 section 6",
        ..code(
            &[535],
            "the server does not accept user and password",
            "Correct smtp_sasl_password_maps and run postmap on it; many providers want an application password",
        )
    },
    Row {
        checks: &["relay.starttls"],
        source: "RFC 4954 section 6",
        ..code(&[538], "this login needs encryption", "Let Postfix use TLS: smtp_tls_security_level = encrypt")
    },
    Row {
        checks: &["relay.accepts", "spf.sender", "hostname.ptr"],
        ..code(
            &[550],
            "the mailbox is not available: it does not exist, or a rule forbids it",
            "See the text of the reply",
        )
    },
    code(&[551], "the mailbox is elsewhere", "Use the address that the reply names"),
    Row {
        checks: &["relay.size"],
        ..code(&[552], "the message is bigger than there is room for", "Send a smaller message")
    },
    Row {
        checks: &["relay.accepts"],
        ..code(
            &[553],
            "the address is not allowed: badly written, or not yours to send from",
            "See the text of the reply; correct the address",
        )
    },
    Row {
        checks: &["relay.connect", "relay.accepts"],
        ..code(
            &[554],
            "the transaction failed, or the server takes no mail from this client",
            "See the text of the reply",
        )
    },
];

/// What the first digit says.
static CLASSES: &[Row] = &[
    Row { enhanced: "2", ..code(&[], "done", "Nothing to do") },
    Row { enhanced: "3", ..code(&[], "the server waits for more", "Nothing to do") },
    Row { enhanced: "4", ..code(&[], "not now", "Postfix tries again; see the text of the reply if it stays so") },
    Row { enhanced: "5", ..code(&[], "no", "See the text of the reply") },
];

const fn enhanced(pattern: &'static str, meaning: &'static str, remedy: &'static str) -> Row {
    Row { enhanced: pattern, meaning, remedy, source: "RFC 3463 section 3", ..ROW }
}

const fn code(codes: &'static [u16], meaning: &'static str, remedy: &'static str) -> Row {
    Row { codes, meaning, remedy, source: "RFC 5321 section 4.2", ..ROW }
}

/// What the codes alone say; the enhanced one says more, except that all is well.
pub(super) fn row(quote: &Quote) -> Option<&'static Row> {
    let is_its = |row: &&Row| quote.enhanced.is_some_and(|code| code.is_one_of(row.enhanced));
    let precise = ENHANCED.iter().find(is_its);
    let coded = CODES.iter().find(|row| quote.code.is_some_and(|code| row.codes.contains(&code)));
    let digit = quote.code.map(|code| code / 100).or(quote.enhanced.map(|code| code.class));
    let class = CLASSES.iter().find(|row| digit.is_some_and(|digit| row.enhanced == digit.to_string()));
    // These say more than the *.7.0 or *.7.1 that mostly comes behind them.
    let is_telling = matches!(quote.code, Some(421 | 454 | 530 | 534 | 535 | 538));
    let is_vague = quote.enhanced.is_none_or(|code| code.detail < 2) || quote.code == Some(421);
    if digit.is_some_and(|digit| digit < 4) || (is_telling && is_vague) {
        return coded.or(class);
    }
    precise.or(coded).or_else(|| SUBJECTS.iter().find(is_its)).or(class)
}

#[cfg(test)]
pub(super) fn all() -> impl Iterator<Item = &'static Row> {
    [ENHANCED, SUBJECTS, CODES, CLASSES].into_iter().flatten()
}
