//! Text from elsewhere, on its way to a terminal.

use std::{
    fs,
    io::{BufRead, BufReader, Write},
    os::unix::ffi::OsStrExt,
    sync::{Arc, Mutex},
    time::{Duration, UNIX_EPOCH},
};

use fixtures::World;
use serde_json::Value;
use tempfile::TempDir;

use super::villain::{self, Resolver, Run, program, run, server};

/// 2026-11-20T15:00:00Z.
const NOW: u64 = 1_795_186_800;

/// Sets the title, clears the screen, begins a control sequence in eight bits, deletes, goes back, reorders, hides.
fn hostile(mark: &str) -> String {
    format!(
        "\u{1b}]0;{mark}\u{7}\u{1b}[2J\u{1b}[31m\u{9b}32m\u{7f}\u{8}\t\u{202e}\u{2066}\u{200b}\u{2028}\u{feff}\u{ad}\u{e0041}\u{fff9}"
    )
}

/// What no terminal may be sent, and no JSON may hold: spelt out here, not taken from what is tried.
fn is_forbidden(c: char) -> bool {
    let u = u32::from(c);
    matches!(u, 0..=0x1f | 0x7f..=0x9f | 0xad | 0x61c | 0x200b..=0x200f | 0x2028..=0x202e | 0x2060..=0x206f)
        || matches!(u, 0xfeff | 0xfff9..=0xfffb | 0xe0000..=0xe007f)
}

/// Our own colours, which end in `m`.
fn without_colours(text: &str) -> String {
    let mut parts = text.split("\u{1b}[");
    let first = parts.next().unwrap().to_owned();
    parts.fold(first, |plain, part| match part.find(|c: char| !c.is_ascii_digit() && c != ';') {
        Some(end) if part[end..].starts_with('m') => plain + &part[end + 1..],
        _ => plain + "\u{1b}[" + part,
    })
}

fn assert_clean(what: &str, text: &str) {
    let odd = without_colours(text).chars().find(|c| *c != '\n' && is_forbidden(*c));
    assert_eq!(odd, None, "{what}: {text:?}");
}

/// Every string of a report, the names of its members too.
fn assert_clean_json(what: &str, value: &Value) {
    match value {
        Value::String(text) => assert_clean(what, text),
        Value::Array(values) => values.iter().for_each(|value| assert_clean_json(what, value)),
        Value::Object(members) => members.iter().for_each(|(name, value)| {
            assert!(!name.contains(is_forbidden), "{what}: {name:?}");
            assert_clean_json(what, value);
        }),
        _ => {}
    }
}

/// The octets as a zone file writes them.
fn in_a_zone(text: &str) -> String {
    text.bytes().map(|octet| format!("\\{octet:03}")).collect()
}

/// The octets as a script writes them.
fn in_a_script(text: &str) -> String {
    text.bytes().map(|octet| format!("\\x{octet:02x}")).collect()
}

/// A world in which everybody says it, and the marks of who is heard in a report.
fn everybody() -> (TempDir, Vec<&'static str>) {
    let folder = TempDir::new().unwrap();
    let (zone, script) = (|mark| in_a_zone(&hostile(mark)), |mark| in_a_script(&hostile(mark)));
    let label = in_a_zone("a\u{1b}[2J\u{202e}\u{9b}b");
    let write = |name: &str, text: String| fs::write(folder.path().join(name), text).unwrap();
    write(
        "zone",
        format!(
            ";! bogus ede.example TXT 6 {ede}\n\
             ;! bogus bimi.example TXT 6 {ede}\n\
             mail.example.com A 192.0.2.10\n\
             10.2.0.192.in-addr.arpa PTR {label}.example.com\n\
             example.com MX 10 {label}.example.com\n\
             example.com MX 20 mx.example.com\n\
             mx.example.com CNAME {label}.example.org\n\
             {label}.example.org CNAME mail.example.com\n\
             example.com TXT \"v=spf1 ip4:192.0.2.10 x-{spf} -all\"\n\
             second.example TXT \"v=spf1 -all exp=why.second.example\"\n\
             why.second.example TXT \"{exp}\"\n\
             _dmarc.example.com TXT \"v=DMARC1; p={dmarc}; rua=mailto:a@b.example,{dmarc}\"\n\
             s._domainkey.example.com TXT \"v=DKIM1; k={dkim}; n={dkim}; p=AAAA\"\n\
             _mta-sts.example.com TXT \"v=STSv1; id={sts}\"\n\
             mta-sts.example.com A 192.0.2.80\n\
             _smtp._tls.example.com TXT \"v=TLSRPTv1; rua={tlsrpt}:x\"\n\
             default._bimi.example.com TXT \"v=BIMI1; l={bimi}; a=\"\n\
             2.0.0.127.bl.example A 127.0.0.2\n\
             10.2.0.192.bl.example A 127.0.0.2\n\
             10.2.0.192.bl.example TXT \"{dnsbl}\"\n\
             smtp.example.net A 192.0.2.25\n\
             smtp.example.net A 192.0.2.26\n\
             smtp.example.net A 192.0.2.27\n",
            ede = hostile("ede").replace('\t', ""),
            spf = zone("spf"),
            exp = zone("exp"),
            dmarc = zone("dmarc"),
            dkim = zone("dkim"),
            sts = zone("sts"),
            tlsrpt = zone("tlsrpt"),
            bimi = zone("bimi"),
            dnsbl = zone("dnsbl"),
        ),
    );
    let ehlo = format!(
        "C: EHLO *\nS: 250-{} {}\nS: 250-X{} {}\nS: 250-AUTH PLAIN {}\nS: 250-AUTH={}",
        script("greeting"),
        script("greeting"),
        script("keyword"),
        script("parameter"),
        script("mechanism"),
        script("mechanism"),
    );
    write(
        "plain.relay",
        format!(
            "LISTEN: 192.0.2.25:587\nS: 220 {}\n{ehlo}\nS: 250 STARTTLS\nC: STARTTLS\nS: 220 {}\nTLS: timeless smtp.example.net\n\
             {ehlo}\nS: 250 SIZE {}\nC: AUTH alice\nS: 535 5.7.8 {}\nC: QUIT\nS: 221 {}\n",
            script("banner"),
            script("starttls"),
            script("size"),
            script("refusal"),
            script("bye"),
        ),
    );
    write("banner.relay", format!("LISTEN: 192.0.2.26:587\nS: 554 {}\n", script("unwelcome")));
    // Names in a certificate are ASCII, and words in a script.
    let name = hostile("certificate").replace(|c: char| !c.is_ascii() || c == '\t', "");
    write(
        "certificate.relay",
        format!(
            "LISTEN: 192.0.2.27:587\nS: 220 x\nC: EHLO *\nS: 250-x\nS: 250 STARTTLS\nC: STARTTLS\nS: 220 x\nTLS: cn-only {name}\n\
             C: EHLO *\nS: 250 x\n"
        ),
    );
    write(
        "policy.https",
        format!(
            "LISTEN: mta-sts.example.com:443\nTLS: trusted mta-sts.example.com\nC: GET /.well-known/mta-sts.txt HTTP/1.1\n\
             S: HTTP/1.1 200 {}\nS: Content-Type: text/{}\nS:\nS: version: STSv1\nS: mode: {}\nS: mx: {}\n",
            in_a_script("O\u{9b}\u{202e}K-reason"),
            in_a_script("\u{9b}\u{202e}type"),
            script("mode"),
            script("exchange"),
        ),
    );
    write(
        "message",
        format!(
            ";! sign v=1; a=ed25519-sha256; d=example.com; s=s; h=from\nReturn-Path: <{}@example.com>\nFrom: a@example.com\n\
             DKIM-Signature: v=1; a=rsa-sha256; d={}.example; s=x; h=from; bh=AAAA; b={}\n\nhello\n",
            hostile("return-path"),
            hostile("domain"),
            hostile("signature"),
        ),
    );
    write(
        "args",
        "check mail.example.com --domain example.com --domain second.example --domain ede.example --selector s \
         --ip 192.0.2.10 --relay [smtp.example.net]:587 --sasl-user alice --sasl-password-file {password-file} \
         --dnsbl bl.example --message {message}\n"
            .to_owned(),
    );
    let heard = "ede spf dmarc dkim sts tlsrpt dnsbl greeting keyword mechanism banner unwelcome certificate mode \
                 exchange signature";
    (folder, heard.split(' ').collect())
}

#[tokio::test]
async fn nobody_controls_a_terminal() {
    let (folder, heard) = everybody();
    for view in [&["--format=json"][..], &["--verbose"], &["--verbose", "--color=always"]] {
        let now = UNIX_EPOCH + Duration::from_secs(NOW);
        let theatre = World::read(folder.path()).unwrap().open(now).await.unwrap();
        let mut program = program();
        program.args(theatre.args()).args(view).env("SOURCE_DATE_EPOCH", NOW.to_string());
        let seen: Run = tokio::task::spawn_blocking(move || villain::finished(&mut program)).await.unwrap();
        assert_eq!(seen.code, Some(1), "{seen:?}");
        assert_eq!(seen.stderr, "", "{view:?}");
        assert_clean(&format!("{view:?}"), &seen.stdout);
        if view == ["--format=json"] {
            let report = seen.report();
            assert_clean_json("report", &report);
            assert_eq!(serde_json::from_str::<Value>(&report.to_string()).unwrap(), report);
        }
        for mark in &heard {
            assert!(seen.stdout.contains(mark), "{view:?}: nothing of {mark}: {}", seen.stdout);
        }
    }
}

/// SERVFAIL with an extended error whose text is ours.
fn servfail(query: &[u8], text: &str) -> Vec<u8> {
    let question_end = 12 + query[12..].iter().position(|octet| *octet == 0).unwrap() + 5;
    let mut message = query[..question_end].to_vec();
    message[2] |= 0x80;
    message[3] = 0x82;
    message[6..12].copy_from_slice(&[0, 0, 0, 0, 0, 1]);
    let length = u16::try_from(text.len()).unwrap();
    message.extend([0, 0, 41, 4, 208, 0, 0, 0, 0]);
    message.extend((length + 6).to_be_bytes());
    message.extend([0, 15]);
    message.extend((length + 2).to_be_bytes());
    message.extend([0, 6]);
    message.extend(text.as_bytes());
    message
}

#[test]
fn an_spf_evaluation_is_text_too() {
    let said = format!("{}\n-all: match", hostile("ede"));
    let resolver = Resolver::open(move |query, _| vec![servfail(query, &said)]);
    let server = resolver.address.to_string();
    let (helo, from) = (hostile("helo"), format!("{}@{}.example", hostile("local"), hostile("from")));
    let identities: [&[&str]; 4] =
        [&["--helo", "x.example"], &["--helo", &helo], &["--helo", "x.example", "--from", &from], &["--from", &from]];
    for identity in identities {
        for view in [&["--format", "json"][..], &["--format", "table"], &["--color", "always"]] {
            let args = [&["spf", "192.0.2.1", "--resolver", &server, "--timeout", "10s"], identity, view].concat();
            let seen = run(&args);
            assert!(matches!(seen.code, Some(1 | 3)), "{seen:?}");
            assert_clean("stdout", &seen.stdout);
            assert_clean("stderr", &seen.stderr);
            assert!(!seen.stdout.lines().any(|line| line == "-all: match"), "{seen:?}");
            if view.contains(&"json") {
                assert_clean_json("evaluation", &seen.report());
            }
        }
    }
}

#[test]
fn what_was_typed_is_one_line_of_text() {
    let odd = hostile("typed").replace('\0', "");
    let scratch = TempDir::new().unwrap();
    let path = scratch.path().join(&odd).display().to_string();
    let nowhere = format!("{path}/report");
    let (selector, message) = (format!("s={path}"), format!("x\n{odd}"));
    let options = "--domain --mail-from --ip --protocols --selector --dkim-key --message --relay --tls-level --tls-match \
                   --ca-file --ca-path --rcpt --message-size --connect-to --sasl-user --sasl-password-file \
                   --sasl-mechanism --sasl-mechanism-filter --sasl-security-options --dnsbl --only --skip --format \
                   --color --timeout --resolver --per-day --no-such-option";
    let mut lines: Vec<Vec<&str>> = vec![
        vec![&odd],
        vec!["check", &odd],
        vec!["spf", &odd],
        vec!["explain", &odd],
        vec!["explain", &message],
        vec!["demo", &odd],
        vec!["list", &odd],
        vec!["check", "m.example", "--dkim-key", &selector],
        vec!["check", "m.example", "--message", &path],
        vec!["check", "m.example", "--ca-file", &path],
        vec!["check", "m.example", "--ca-path", &path],
        vec!["check", "m.example", "--output", &nowhere],
    ];
    lines.extend(options.split_whitespace().map(|option| vec!["check", "m.example", option, odd.as_str()]));
    for line in lines {
        let seen = run(&[&line[..], &["--resolver", "127.0.0.1:1", "--timeout", "2s"]].concat());
        let is_used_up = line.contains(&"--sasl-mechanism-filter");
        assert!(seen.code == Some(2) || (is_used_up && seen.code.is_some()), "{line:?}: {seen:?}");
        assert_eq!(seen.stderr.lines().count(), 1, "{line:?}: {seen:?}");
        assert_clean(&format!("{line:?}"), &seen.stderr);
        assert_clean(&format!("{line:?}"), &seen.stdout);
    }
    let odd = std::ffi::OsStr::from_bytes(b"a\xff\x9b\x1b[2J");
    let seen = villain::finished(program().arg("check").arg(odd));
    assert_eq!(seen.code, Some(2), "{seen:?}");
    assert_clean("not UTF-8", &seen.stderr);
}

/// The longest argument that Linux passes has 128 KiB.
#[test]
fn a_word_as_long_as_it_gets_is_answered_at_once() {
    let long = "x.".repeat(60_000);
    let lines: [&[&str]; 11] = [
        &[&long],
        &["explain", &long],
        &["help", &long],
        &["demo", &long],
        &["spf", &long],
        &["spf", "192.0.2.1", "--from", &long],
        &["spf", "192.0.2.1", "--helo", &long],
        &["check", &long],
        &["check", "m.test", "--only", &long],
        &["check", "m.test", "--skip", &long],
        &["check", "m.test", "--sasl-security-options", &long],
    ];
    for line in lines {
        let seen = run(line);
        let what = format!("{:?} in {:?}", &line[..line.len() - 1], seen.wall);
        assert_eq!(seen.code, Some(2), "{what}");
        assert!(seen.wall < Duration::from_secs(20), "{what}");
        assert!(seen.stderr.len() < 2_000, "{what}: {} octets", seen.stderr.len());
        assert_eq!(seen.stderr.lines().count(), 1, "{what}");
    }
}

#[test]
fn what_a_reply_is_explained_by_is_ours() {
    let seen = run(&["explain", &format!("550-5.7.26 {}", hostile("reply"))]);
    assert_eq!(seen.code, Some(0), "{seen:?}");
    assert_clean("explain", &seen.stdout);
}

/// What a relay was told, and a report on an audit of names that end, quote or comment.
#[test]
fn a_name_ends_no_line_and_no_path() {
    let said = Arc::new(Mutex::new(Vec::new()));
    let heard = Arc::clone(&said);
    let relay = server(move |stream, _| {
        let mut out = stream.try_clone().unwrap();
        out.write_all(b"220 relay.test\r\n").unwrap();
        for line in BufReader::new(stream).lines().map_while(Result::ok) {
            heard.lock().unwrap().push(line);
            let _ = out.write_all(b"250 relay.test\r\n");
        }
    });
    let relay = format!("[127.0.0.1]:{}", relay.port());
    // Every name exists and has nothing.
    let resolver = Resolver::open(|query, _| vec![empty(query)]);
    let server = resolver.address.to_string();
    for odd in [
        "a;b", "a\"b", "a>b", "a<b", "a'b", "a\\b", "a(b", "a$b", "a`b`", "$(id)", "-f", "+x", "a/b", "a?b", "a#b",
        "a:b",
    ] {
        let (host, domain) = (format!("{odd}.test"), format!("mail.{odd}.test"));
        let message = TempDir::new().unwrap();
        let file = message.path().join("-x;y'.eml");
        fs::write(&file, format!("From: a@{host}\n\nhello\n")).unwrap();
        let file = file.to_str().unwrap();
        let selector = format!("--selector={odd}");
        let more = ["--relay", &relay, "--rcpt", "b@c.test", "--tls-level", "none", &selector, "--dnsbl", &host];
        let by_message = ["--message", file];
        for subject in [&["--", &host][..], &["--", &domain], &by_message, &[by_message[0], file, "m.test"]] {
            let rest = ["--resolver", &server, "--timeout", "10s", "--format", "json"];
            let args = [&["check"], &more[..], &rest, subject].concat();
            let seen = run(&args);
            assert!(matches!(seen.code, Some(0 | 1 | 3)), "{args:?}: {seen:?}");
            for finding in seen.report()["findings"].as_array().unwrap() {
                assert_safe(finding);
            }
        }
        for option in ["--domain", "--mail-from"] {
            let seen = run(&["check", "m.test", option, &host]);
            let is_fine = odd.bytes().all(|octet| octet.is_ascii_alphanumeric() || octet == b'-');
            assert!(is_fine || seen.code == Some(2), "{option} {host}: {seen:?}");
        }
    }
    let said = said.lock().unwrap();
    let paths: Vec<&String> =
        said.iter().filter(|line| line.starts_with("MAIL FROM") || line.starts_with("RCPT")).collect();
    assert!(!paths.is_empty());
    for line in paths {
        let path = line.split_once(":<").unwrap().1.strip_suffix('>').unwrap();
        assert!(path.chars().all(|c| c.is_ascii_alphanumeric() || ".-_@".contains(c)), "{line:?}");
    }
}

/// Nothing in a zone line ends or opens anything outside of quotes, and a shell runs one program with plain words.
fn assert_safe(finding: &Value) {
    if let ("zone", Some(text)) = (finding["fix"]["kind"].as_str().unwrap_or_default(), finding["fix"]["text"].as_str())
    {
        let (mut chars, mut is_quoted) = (text.chars(), false);
        while let Some(c) = chars.next() {
            match c {
                '\\' => drop(chars.next().unwrap()),
                '"' => is_quoted = !is_quoted,
                ';' | '(' | ')' | '$' | '@' if !is_quoted => panic!("{c:?} in {text}"),
                _ => {}
            }
        }
        assert!(!is_quoted, "{text}");
    }
    for seen in finding["evidence"].as_array().into_iter().flatten() {
        let command = seen["command"].as_str().unwrap();
        let (mut chars, mut is_quoted, mut plain) = (command.chars(), false, String::new());
        while let Some(c) = chars.next() {
            match c {
                '\'' => is_quoted = !is_quoted,
                '\\' if !is_quoted => drop(chars.next().unwrap()),
                c if !is_quoted => plain.push(c),
                _ => {}
            }
        }
        assert!(!is_quoted, "{command}");
        let ours = plain.replace("| grep ^", "").replace("| base64", "");
        assert!(!ours.contains([';', '`', '"', '>', '<', '&', '(', '#', '|', '\n']), "{command}");
        if let Some(words) = command.strip_prefix("dig ") {
            let name = words.rsplit(' ').nth(1).unwrap_or_default().trim_matches('\'');
            assert!(!name.starts_with(['-', '+', '@']) || words.contains("-q ") || words.contains("-x "), "{command}");
        }
    }
}

/// The answer that there is nothing of that type.
fn empty(query: &[u8]) -> Vec<u8> {
    let question_end = 12 + query[12..].iter().position(|octet| *octet == 0).unwrap() + 5;
    let mut message = query[..question_end].to_vec();
    message[2] |= 0x80;
    message[3] = 0x80;
    message[6..12].fill(0);
    message
}
