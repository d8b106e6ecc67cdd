//! The command line: what was typed.

#![allow(rustdoc::broken_intra_doc_links, reason = "the comments are the help text, in which brackets are brackets")]

use std::{
    ffi::OsString,
    net::{IpAddr, SocketAddr},
    path::PathBuf,
    process,
    time::Duration,
};

use anyhow::Context;
use checks::{Mailbox, MechanismFilter, Name, Protocols, Redirect, Relayhost, SecurityOptions, Selector, TlsLevel};
use clap::{
    Args, Parser, Subcommand, ValueEnum,
    builder::{PossibleValuesParser, TypedValueParser},
};

use crate::{output::Output, render::Format};

const EXIT_CODES: &str = "\
Exit code: 0 nothing failed, 1 something failed (with --strict: or warned), 2 bad usage or
configuration, 3 nothing failed but something could not be found out";

const SPF_EXIT_CODES: &str = "\
Exit code: 0 pass, 1 fail, softfail, neutral, none or permerror, 2 bad usage, 3 temperror";

/// The longest command that a server takes (Postfix's line_length_limit), in octets.
const LONGEST_COMMAND: usize = 2048;

/// Longer than any audit takes, and far from what a clock can carry.
const LONGEST_TIMEOUT: Duration = Duration::from_secs(24 * 60 * 60);

/// Tells an admin, before go-live, whether mail from a host will be accepted: asks DNS and the relay what receivers
/// will ask, and says what is right, what is wrong, how to see it, and what to change.
#[derive(Parser)]
#[command(name = "mail-preflight", version, arg_required_else_help = false, args_override_self = true)]
struct Line {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
pub(crate) enum Command {
    /// Audit one host
    #[command(after_help = EXIT_CODES, args_override_self = true)]
    Check {
        #[command(flatten)]
        subject: Box<Subject>,
        #[command(flatten)]
        choice: Choice,
        #[command(flatten)]
        options: Options,
    },
    /// One RFC 7208 evaluation, traced
    #[command(after_help = SPF_EXIT_CODES, args_override_self = true)]
    Spf {
        /// The client's address
        ip: IpAddr,
        #[command(flatten)]
        identity: Identity,
        #[command(flatten)]
        options: Options,
    },
    /// The same audit against a small world served on loopback: no network needed
    #[command(after_help = EXIT_CODES, args_override_self = true)]
    Demo {
        /// The world to audit: healthy or broken
        #[arg(default_value = "healthy")]
        world: String,
        #[command(flatten)]
        choice: Choice,
        #[command(flatten)]
        options: Options,
    },
    /// Every check, one line each
    List,
    /// What a check means, why it matters, how to fix it; or what an SMTP reply means
    Explain {
        /// A check, a family for all of its checks, or a reply as in "550-5.7.0 Mail relay denied"
        check: String,
    },
}

/// What is audited.
#[derive(Args)]
pub(crate) struct Subject {
    /// The name the server calls itself: Postfix's myhostname, the EHLO name
    #[arg(value_parser = hostname)]
    pub(crate) hostname: Option<Name>,
    #[command(flatten)]
    pub(crate) host: Host,
    #[command(flatten)]
    pub(crate) dkim: Dkim,
    #[command(flatten)]
    pub(crate) relay: Relay,
    #[command(flatten)]
    pub(crate) login: Login,
    #[command(flatten)]
    pub(crate) blocklists: Blocklists,
}

#[derive(Args)]
#[command(next_help_heading = "Host")]
pub(crate) struct Host {
    /// Sender domain: the From: header's, and the envelope's unless --mail-from says otherwise (repeatable)
    /// [default: HOSTNAME less its first label]
    #[arg(long, value_name = "DOMAIN", allow_hyphen_values = true, value_parser = domain)]
    pub(crate) domain: Vec<Name>,
    /// Envelope domain (MAIL FROM) where it differs: SPF is judged there
    #[arg(long, value_name = "DOMAIN", allow_hyphen_values = true, value_parser = domain)]
    pub(crate) mail_from: Option<Name>,
    /// An address mail leaves from: NAT, multi-homed hosts, a relay's outgoing addresses (repeatable)
    /// [default: HOSTNAME's A and AAAA]
    #[arg(long, value_name = "ADDRESS")]
    pub(crate) ip: Vec<IpAddr>,
    /// Also ask every authoritative server of the domain, without a resolver in between
    #[arg(long, help_heading = "DNS")]
    pub(crate) authoritative: bool,
    /// How many messages are sent a day: held against the relay's limit; from 5000 on the rules for bulk senders apply
    #[arg(long, value_name = "N")]
    pub(crate) per_day: Option<u64>,
    /// Also connect to the domain's own MX hosts, port 25 (STARTTLS, DANE)
    #[arg(long)]
    pub(crate) mx_probe: bool,
    /// Postfix's inet_protocols
    #[arg(long, default_value = "all", value_parser = protocols())]
    pub(crate) protocols: Protocols,
}

#[derive(Args)]
#[command(next_help_heading = "DKIM")]
pub(crate) struct Dkim {
    /// DKIM selector, under every domain or, as SELECTOR@DOMAIN, under one (repeatable)
    #[arg(long, value_name = "SELECTOR", allow_hyphen_values = true)]
    pub(crate) selector: Vec<Selector>,
    /// The signer's private key (PEM), as SELECTOR=FILE or SELECTOR@DOMAIN=FILE: the published key must be its public
    /// half, which alone is looked at (repeatable)
    #[arg(long, value_name = "SELECTOR=FILE", allow_hyphen_values = true, value_parser = dkim_key)]
    pub(crate) dkim_key: Vec<(Selector, PathBuf)>,
    /// A message as it was sent (.eml), - for standard input: its signatures, SPF and DMARC are judged, and the
    /// selectors it names
    #[arg(long, value_name = "FILE", allow_hyphen_values = true)]
    pub(crate) message: Option<PathBuf>,
}

#[derive(Args)]
#[command(next_help_heading = "Relay")]
pub(crate) struct Relay {
    /// Postfix's relayhost: [HOST]:PORT, or DOMAIN:PORT for the domain's MX; several with commas between are tried in
    /// order [default: none, mail is sent directly]
    #[arg(long, value_name = "NEXTHOP")]
    pub(crate) relay: Option<Relayhost>,
    /// TLS from the first byte (smtp_tls_wrappermode) [default: on for port 465]
    #[arg(long)]
    pub(crate) tls_wrappermode: bool,
    /// Make up to four more connections to each address, one after another, for what one cannot show: TLS below 1.2,
    /// no SNI, session reuse, data after STARTTLS
    #[arg(long)]
    pub(crate) tls_probe: bool,
    /// Postfix's smtp_tls_security_level [default: encrypt with a relay, may without]
    #[arg(long, value_name = "LEVEL", value_parser = tls_level())]
    pub(crate) tls_level: Option<TlsLevel>,
    /// What the certificate must match: names (nexthop, dot-nexthop, hostname, NAME or .DOMAIN) at verify and secure,
    /// digests of it or its key at fingerprint (repeatable) [default: hostname at verify, nexthop:dot-nexthop at secure]
    #[arg(long, value_name = "PATTERN", allow_hyphen_values = true)]
    pub(crate) tls_match: Vec<String>,
    /// Trust anchors in one PEM file (smtp_tls_CAfile) [default: the system's]
    #[arg(long, value_name = "FILE", allow_hyphen_values = true)]
    pub(crate) ca_file: Option<PathBuf>,
    /// Trust anchors in a directory of PEM files (smtp_tls_CApath)
    #[arg(long, value_name = "DIR", allow_hyphen_values = true)]
    pub(crate) ca_path: Option<PathBuf>,
    /// Ask the relay whether it takes mail for this recipient: MAIL FROM and RCPT TO, never DATA (repeatable)
    #[arg(long, value_name = "ADDRESS", allow_hyphen_values = true)]
    pub(crate) rcpt: Vec<Mailbox>,
    /// Postfix's message_size_limit, 0 for none [default: 10240000, Postfix's own]
    #[arg(long, value_name = "BYTES")]
    pub(crate) message_size: Option<u64>,
    /// Reach HOST:PORT at ADDR:PORT: before a cut-over, in tests (repeatable)
    #[arg(long, value_name = "HOST:PORT:ADDR:PORT")]
    pub(crate) connect_to: Vec<Redirect>,
}

#[derive(Args)]
#[command(next_help_heading = "Login")]
pub(crate) struct Login {
    /// Log in to the relay as this user; the password comes from --sasl-password-file, else from
    /// $MAIL_PREFLIGHT_SASL_PASSWORD, else from a prompt on the terminal
    #[arg(long, value_name = "USER", allow_hyphen_values = true)]
    pub(crate) sasl_user: Option<String>,
    /// The password is the first line of this file
    #[arg(long, value_name = "FILE", allow_hyphen_values = true, conflicts_with = "sasl_token_file")]
    pub(crate) sasl_password_file: Option<PathBuf>,
    /// The token for XOAUTH2 and OAUTHBEARER is the first line of this file
    #[arg(long, value_name = "FILE", allow_hyphen_values = true)]
    pub(crate) sasl_token_file: Option<PathBuf>,
    /// Insist on this mechanism; EXTERNAL needs no password [default: the first that the relay lists and Postfix would take]
    #[arg(long, value_name = "MECHANISM", ignore_case = true, value_parser = mechanism())]
    pub(crate) sasl_mechanism: Option<String>,
    /// Postfix's smtp_sasl_mechanism_filter: names, !name excludes, static:rest for all others
    #[arg(long, value_name = "LIST", default_value = "", hide_default_value = true, allow_hyphen_values = true)]
    pub(crate) sasl_mechanism_filter: MechanismFilter,
    /// Postfix's smtp_sasl_security_options [default: noanonymous, Postfix's is noplaintext, noanonymous]
    #[arg(long, value_name = "WORDS", allow_hyphen_values = true)]
    pub(crate) sasl_security_options: Option<SecurityOptions>,
    /// Postfix's smtp_sasl_tls_security_options [default: those of --sasl-security-options]
    #[arg(long, value_name = "WORDS", allow_hyphen_values = true)]
    pub(crate) sasl_tls_security_options: Option<SecurityOptions>,
    /// Log in even if the relay has refused this login within the last minute
    #[arg(long)]
    pub(crate) force: bool,
}

#[derive(Args)]
#[command(next_help_heading = "Blocklists")]
pub(crate) struct Blocklists {
    /// Ask this blocklist too, as in dnsbl.example.net; --skip dnsbl asks none (repeatable) [default: the built-in few]
    #[arg(long, value_name = "ZONE", allow_hyphen_values = true)]
    pub(crate) dnsbl: Vec<Name>,
}

/// Which checks run, and which verdicts fail.
#[derive(Args)]
#[command(next_help_heading = "Checks")]
pub(crate) struct Choice {
    /// Run these families or checks alone, as in spf,dkim.key (repeatable)
    #[arg(long, value_name = "IDS", value_delimiter = ',')]
    pub(crate) only: Vec<String>,
    /// Leave these families or checks out (repeatable)
    #[arg(long, value_name = "IDS", value_delimiter = ',')]
    pub(crate) skip: Vec<String>,
    /// Warnings fail
    #[arg(long)]
    pub(crate) strict: bool,
}

/// Whom the client says it is. Nothing is refused that a server may have heard: this is what strangers say.
#[derive(Args)]
pub(crate) struct Identity {
    /// The name in HELO or EHLO [default: the domain of --from]
    #[arg(long, value_name = "NAME", allow_hyphen_values = true, value_parser = in_a_command)]
    helo: Option<String>,
    /// The reverse-path (MAIL FROM); '' for the empty one of a bounce, which stands for postmaster at the HELO name
    #[arg(long, value_name = "ADDRESS", allow_hyphen_values = true, default_value = "", value_parser = in_a_command)]
    pub(crate) from: String,
    /// Also ask the library mail-auth, and show where it differs
    #[arg(long)]
    pub(crate) second_opinion: bool,
}

impl Identity {
    /// The HELO name, or what stands for it.
    pub(crate) fn helo(&self) -> anyhow::Result<&str> {
        let domain = self.from.rsplit_once('@').map_or(self.from.as_str(), |(_, domain)| domain);
        let helo = self.helo.as_deref().unwrap_or(domain);
        anyhow::ensure!(!helo.is_empty(), "whose mail? name the HELO identity with --helo, or MAIL FROM with --from");
        Ok(helo)
    }
}

/// What every auditing command knows.
#[derive(Args)]
#[command(next_help_heading = "Output")]
pub(crate) struct Options {
    /// How the report is written: for people or for programs
    #[arg(long, value_enum, default_value_t)]
    pub(crate) format: Format,
    /// Write the report to this file [default: standard output]
    #[arg(long, value_name = "FILE", allow_hyphen_values = true)]
    pub(crate) output: Option<PathBuf>,
    /// Show the evidence in the table
    #[arg(long, short)]
    pub(crate) verbose: bool,
    /// Colour the table; auto: on a terminal, unless $NO_COLOR is set
    #[arg(long, value_name = "WHEN", value_enum, default_value_t)]
    pub(crate) color: Color,
    /// The time for the whole audit, as in 90s; what is unfinished then is reported as unknown
    #[arg(long, value_name = "DURATION", default_value = "60s", value_parser = timeout)]
    pub(crate) timeout: Duration,
    /// DNS server to ask, port 53 unless given; IPv6 as [::1]:5353 (repeatable) [default: the system's]
    #[arg(long, value_name = "ADDR[:PORT]", value_parser = resolver, help_heading = "DNS")]
    pub(crate) resolver: Vec<SocketAddr>,
    /// Believe the AD bit (DNSSEC) of a resolver that is not on loopback
    #[arg(long, help_heading = "DNS")]
    pub(crate) trust_ad: bool,
}

/// When to colour: `auto` is on a terminal, unless `$NO_COLOR` is set.
#[derive(Clone, Copy, Default, ValueEnum)]
pub(crate) enum Color {
    #[default]
    Auto,
    Always,
    Never,
}

/// The command that `args` spell, the program's name first. Asked for help, prints it and exits.
pub(crate) fn command(args: impl IntoIterator<Item: Into<OsString> + Clone>) -> anyhow::Result<Command> {
    match Line::try_parse_from(args) {
        Ok(line) => Ok(line.command),
        Err(help) if !help.use_stderr() => {
            let said = Output::standard().write(|_, out| write!(out, "{}", help.render().ansi()));
            said.context("cannot write to standard output")?;
            process::exit(0)
        }
        Err(error) => Err(anyhow::Error::msg(one_line(&error.render().to_string()))),
    }
}

/// clap's complaint without its usage paragraph.
fn one_line(complaint: &str) -> String {
    let is_usage = |line: &str| line.starts_with("Usage:") || line.starts_with("For more information");
    let said = complaint.trim_start_matches("error: ").lines().map(str::trim).take_while(|line| !is_usage(line));
    // A word that looks like an option was meant as one.
    let is_telling = |line: &&str| !line.is_empty() && !line.starts_with("tip: to pass");
    let mut line = said.filter(is_telling).fold(String::new(), |said, more| match said.as_str() {
        "" => more.to_owned(),
        list if list.ends_with(':') => format!("{said} {more}"),
        _ => format!("{said}; {more}"),
    });
    if !line.contains("tip: ") && !line.contains("[possible values: ") {
        line.push_str("; see --help");
    }
    line
}

/// Whatever else may be wrong with a name is told by a finding.
fn hostname(text: &str) -> Result<Name, String> {
    match text {
        text if text.contains('@') => Err("is an address, expected the name of a host".to_owned()),
        text if text.contains("://") => Err("is a URL, expected the name of a host".to_owned()),
        text if text.starts_with('[') && text.contains("]:") => {
            Err("has a port, expected the name of a host; a relay is named with --relay".to_owned())
        }
        text => text.parse(),
    }
}

/// A domain that addresses have: it stands in MAIL FROM.
fn domain(text: &str) -> Result<Name, String> {
    if let Some((_, domain)) = text.rsplit_once('@') {
        return Err(format!("is an address, expected its domain: {domain}"));
    }
    let domain: Name = text.parse()?;
    match domain.is_mailable() {
        true => Ok(domain),
        false => Err("is no domain that mail can be sent from: expected letters, digits and hyphens".to_owned()),
    }
}

/// What may stand in a command of SMTP: servers take longer ones than the 512 octets of RFC 5321 section 4.5.3.1.4, but no
/// such.
fn in_a_command(text: &str) -> Result<String, String> {
    match text.len() {
        ..=LONGEST_COMMAND => Ok(text.to_owned()),
        octets => Err(format!("has {octets} octets, and no server takes a command of more than {LONGEST_COMMAND}")),
    }
}

fn dkim_key(text: &str) -> Result<(Selector, PathBuf), String> {
    let (selector, file) = text.split_once('=').ok_or("expected SELECTOR=FILE or SELECTOR@DOMAIN=FILE")?;
    Ok((selector.parse()?, file.into()))
}

fn resolver(text: &str) -> Result<SocketAddr, String> {
    let bare = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(text);
    let address = bare.parse().map(|address| SocketAddr::new(address, 53)).or_else(|_| text.parse());
    address.ok().filter(|server| server.port() != 0).ok_or_else(|| {
        "expected an address, with a port if not 53: 192.0.2.53, 192.0.2.53:5353, [2001:db8::53]:5353".to_owned()
    })
}

fn timeout(text: &str) -> Result<Duration, String> {
    let duration = humantime::parse_duration(text).map_err(|why| format!("{why}; expected as in 90s or 2m"))?;
    match duration {
        Duration::ZERO => Err("nothing can be asked in no time".to_owned()),
        longer if longer > LONGEST_TIMEOUT => Err("24h at most".to_owned()),
        duration => Ok(duration),
    }
}

fn protocols() -> impl TypedValueParser<Value = Protocols> {
    word(&[("all", Protocols::All), ("ipv4", Protocols::Ipv4), ("ipv6", Protocols::Ipv6)])
}

fn tls_level() -> impl TypedValueParser<Value = TlsLevel> {
    word(&TlsLevel::WORDS)
}

fn mechanism() -> impl TypedValueParser<Value = String> {
    const WORDS: [&str; 10] = [
        "PLAIN",
        "LOGIN",
        "CRAM-MD5",
        "SCRAM-SHA-1",
        "SCRAM-SHA-1-PLUS",
        "SCRAM-SHA-256",
        "SCRAM-SHA-256-PLUS",
        "XOAUTH2",
        "OAUTHBEARER",
        "EXTERNAL",
    ];
    PossibleValuesParser::new(WORDS).map(|typed| typed.to_ascii_uppercase())
}

/// One of a few words, each with what it stands for.
fn word<T: Copy + Send + Sync>(words: &'static [(&'static str, T)]) -> impl TypedValueParser<Value = T> {
    PossibleValuesParser::new(words.iter().map(|(word, _)| *word)).try_map(|typed| {
        let meant = words.iter().find(|(word, _)| *word == typed);
        meant.map(|(_, value)| *value).ok_or("no such word")
    })
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Line::command().debug_assert();
    }

    #[test]
    fn resolvers_as_users_write_them() {
        for (text, server) in [
            ("192.0.2.53", "192.0.2.53:53"),
            ("192.0.2.53:5353", "192.0.2.53:5353"),
            ("::1", "[::1]:53"),
            ("[::1]", "[::1]:53"),
            ("[::1]:5353", "[::1]:5353"),
        ] {
            assert_eq!(resolver(text), Ok(server.parse().unwrap()), "{text}");
        }
        for text in ["", "dns.example", "192.0.2.53:", "192.0.2.53:0", "192.0.2.53:65536", "[::1", "192.0.2"] {
            assert!(resolver(text).is_err(), "{text}");
        }
    }

    #[test]
    fn complaints_become_one_line() {
        for (complaint, line) in [
            ("error: no such thing\n\nUsage: x\n\nFor more information, try '--help'.\n", "no such thing; see --help"),
            (
                "error: odd\n\n  tip: a similar argument exists: '--ip'\n\nUsage: x",
                "odd; tip: a similar argument exists: '--ip'",
            ),
            ("error: these are missing:\n  <A>\n  <B>\n\nUsage: x", "these are missing: <A>; <B>; see --help"),
        ] {
            assert_eq!(one_line(complaint), line);
        }
    }
}
