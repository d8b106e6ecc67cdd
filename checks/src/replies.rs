//! What the replies of SMTP servers mean: a table of what large providers answer, and of the codes of the standards.

use syntax::Host;

use crate::net::smtp::Reply;

mod general;
mod google;
mod microsoft;
mod others;
mod quote;

pub use self::quote::Quote;

/// One reply that servers give: how to know it, what it means, what to do.
#[derive(Debug, PartialEq, Eq)]
pub struct Row {
    /// Whose it is; nobody's in particular without.
    pub whose: Option<&'static str>,
    /// The reply codes it comes with; any without.
    codes: &'static [u16],
    /// The enhanced code it comes with, any without; `*.7.26` is a warning and a refusal, `5.7.606-649` a range.
    enhanced: &'static str,
    /// The words it is known by, in lower case, all of which occur.
    words: &'static [&'static str],
    /// What it means, as the end of a sentence.
    pub meaning: &'static str,
    /// What to do.
    pub remedy: &'static str,
    /// Whether it is about one recipient, not about relaying.
    pub is_of_recipient: bool,
    /// The checks that find the cause beforehand.
    pub checks: &'static [&'static str],
    /// Who says so.
    pub source: &'static str,
    /// When the source was last compared with this row; nothing where that was not done.
    pub checked: Option<&'static str>,
}

/// What nearly every row changes something of.
const ROW: Row = Row {
    whose: None,
    codes: &[],
    enhanced: "",
    words: &[],
    meaning: "",
    remedy: "",
    is_of_recipient: false,
    checks: &[],
    source: "",
    // Written from knowledge, unless a row says otherwise.
    checked: None,
};

/// The day on which the sources of the rows that say so were read.
const READ: Option<&str> = Some("2026-11-21");

/// More rows than this that may be meant are none that is.
const MOST: usize = 4;

impl Row {
    /// Whether it says no more than the code does.
    pub(crate) fn is_general(&self) -> bool {
        self.source.starts_with("RFC ") && self.words.is_empty()
    }

    fn fits(&self, quote: &Quote) -> bool {
        let code_fits = self.codes.is_empty() || quote.code.is_none_or(|code| self.codes.contains(&code));
        code_fits && (self.enhanced.is_empty() || quote.enhanced.is_none_or(|code| code.is_one_of(self.enhanced)))
    }

    fn is_told_by_words(&self, quote: &Quote) -> bool {
        !self.words.is_empty() && self.words.iter().all(|word| quote.text.contains(word))
    }

    /// How much speaks for it: the more is said of it, the better.
    fn weight(&self, quote: &Quote) -> usize {
        let said: usize = self.words.iter().map(|word| word.len()).sum();
        said + if !self.enhanced.is_empty() && quote.enhanced.is_some() { 10 } else { 0 }
    }
}

/// What `quote` may mean, the likeliest alone unless it could be anybody's.
pub fn explanations(quote: &Quote) -> Vec<&'static Row> {
    meant(quote, quote.speaker)
}

/// The one meaning of a reply of `host`.
pub(crate) fn explained(reply: &Reply, host: &Host) -> Option<&'static Row> {
    let quote = Quote::of(reply.code, &reply.lines);
    let speaker = crate::provider::named(host).or(quote.speaker);
    match meant(&quote, speaker).as_slice() {
        [only] => Some(only),
        _ => general::row(&quote),
    }
}

fn meant(quote: &Quote, speaker: Option<&str>) -> Vec<&'static Row> {
    let is_theirs = |row: &&Row| speaker.is_none() || row.whose.is_none() || row.whose == speaker;
    let fitting: Vec<&'static Row> = particular().filter(|row| row.fits(quote)).collect();
    let told: Vec<&Row> = fitting.iter().copied().filter(|row| row.is_told_by_words(quote)).collect();
    // Words tell more than the host does: what a provider says of another's reply is still that other's.
    let told = if told.iter().any(is_theirs) { told.into_iter().filter(is_theirs).collect() } else { told };
    if let Some(most) = told.iter().map(|row| row.weight(quote)).max() {
        return told.into_iter().filter(|row| row.weight(quote) == most).collect();
    }
    // By the code alone: where there are words, and they are not those of a row, the row is not meant, except that
    // nobody else could have said it.
    let coded = fitting.into_iter().filter(|row| !row.enhanced.is_empty() && quote.enhanced.is_some());
    let coded: Vec<&Row> = coded.filter(is_theirs).collect();
    let is_best = |row: &&Row| {
        let has_plain = coded.iter().any(|other| other.whose == row.whose && other.words.is_empty());
        let is_likely = quote.is_bare() || (speaker.is_some() && row.whose == speaker);
        row.words.is_empty() || (is_likely && !has_plain)
    };
    let best: Vec<&Row> = coded.iter().copied().filter(is_best).collect();
    let is_certain = best.iter().all(|row| row.whose == speaker);
    let general = general::row(quote);
    match best.len() {
        1..=MOST if is_certain => best,
        // What the first three digits alone say is no other meaning of an enhanced code.
        1..=MOST => best.into_iter().chain(general.filter(|row| !row.enhanced.is_empty())).collect(),
        _ => general.into_iter().collect(),
    }
}

/// The rows that are about more than a code of the standards.
fn particular() -> impl Iterator<Item = &'static Row> {
    [google::ROWS, microsoft::ROWS, others::ROWS].into_iter().flatten()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    fn all() -> impl Iterator<Item = &'static Row> {
        particular().chain(general::all())
    }

    #[test]
    fn every_row_is_complete() {
        let ids: BTreeSet<&str> = crate::check::all().map(|check| check.id).collect();
        for row in all() {
            assert!(!row.meaning.is_empty() && !row.remedy.is_empty() && !row.source.is_empty(), "{row:?}");
            assert!(!row.meaning.ends_with('.') && !row.remedy.ends_with('.'), "{row:?}");
            assert!(row.words.iter().all(|word| *word == word.to_lowercase()), "{row:?}");
            assert!(row.checks.iter().all(|id| ids.contains(id)), "{row:?}");
            assert!(row.source.starts_with("https://") || row.source.starts_with("RFC "), "{row:?}");
        }
        assert!(particular().count() >= 40, "{}", particular().count());
    }

    #[test]
    fn every_row_is_found_by_its_own_words() {
        for row in particular() {
            let code = row.codes.first().copied();
            let enhanced = row.enhanced.split('-').next().unwrap().replace('*', "5");
            let text = format!("{} {enhanced} {}", code.unwrap_or(550), row.words.join(" "));
            let found = explanations(&Quote::parse(&text).unwrap());
            assert!(found.contains(&row), "{text}: {found:#?}");
        }
    }

    #[test]
    fn every_well_formed_reply_gets_an_answer() {
        for code in 200..600 {
            assert!(!explanations(&Quote::parse(&code.to_string()).unwrap()).is_empty(), "{code}");
        }
        for class in [2, 4, 5] {
            for (subject, detail) in [(0, 0), (1, 1), (3, 4), (7, 999), (9, 1), (999, 999)] {
                let text = format!("{class}.{subject}.{detail}");
                assert!(!explanations(&Quote::parse(&text).unwrap()).is_empty(), "{text}");
            }
        }
    }

    #[test]
    fn replies_as_they_stand_in_logs() {
        for (text, whose, part) in [
            ("550-5.7.0 Mail relay denied", Some("Google"), "SMTP relay service"),
            (
                "550-5.7.0 Mail relay denied [192.0.2.1]. Invalid credentials for relay for one of\n550 5.7.0 the domains in: x",
                Some("Google"),
                "SMTP relay service",
            ),
            (
                "dsn=5.7.26, status=bounced (host mx.example.net[192.0.2.1] said: 550-5.7.26 Your email has been blocked because the sender is unauthenticated. 550-5.7.26 Gmail requires all senders to authenticate with either SPF or DKIM. (in reply to end of DATA command))",
                Some("Google"),
                "neither SPF nor DKIM",
            ),
            ("550 5.7.30 Basic authentication is not supported for Client Submission", Some("Microsoft"), "password"),
            ("550-5.7.30 This mail has been blocked because DKIM does not pass", Some("Google"), "DKIM"),
            ("454 4.7.0 Too many login attempts, please try again later. gsmtp", Some("Google"), "too many logins"),
            (
                "SMTP error 535 5.7.139 Authentication unsuccessful, SmtpClientAuthentication is disabled for the Tenant. Visit https://aka.ms/smtp_auth_disabled",
                Some("Microsoft"),
                "tenant",
            ),
            ("554 5.7.1 <bob@example.org>: Relay access denied", None, "neither the final destination"),
            (
                "450 4.7.1 <bob@example.org>: Recipient address rejected: Greylisted, see http://postgrey.example/",
                None,
                "greylist",
            ),
            (
                "554 Message rejected: Email address is not verified. The following identities failed the check in region EU-WEST-1: x",
                Some("Amazon SES"),
                "verified",
            ),
            ("550 5.7.515 Access denied, sending domain example.com", Some("Microsoft"), "do not all pass"),
            ("550-5.7.26 This mail has been blocked because the sender is unauthenticated.", Some("Google"), "DKIM"),
            ("530 5.7.0 Authentication required", None, "wants a login"),
            ("550 5.7.1 Invalid credentials for relay [192.0.2.1].", Some("Google"), "not of that account"),
            ("552 5.3.4 Message size exceeds fixed limit", None, "too big"),
            ("550", None, "not available"),
            ("421 whatever", None, "not available"),
            ("421 4.7.0 whatever", None, "not available"),
            ("status=bounced (host mx.google.com[192.0.2.1] said: 550-5.7.26 x", Some("Google"), "not authenticated"),
            ("554 5.7.1 Service unavailable; Client host [192.0.2.1] blocked using zen.spamhaus.org", None, "Spamhaus"),
            ("5.1.1", None, "mailbox"),
        ] {
            let found = explanations(&Quote::parse(text).unwrap());
            assert_eq!(found.len(), 1, "{text}: {found:#?}");
            assert_eq!(found[0].whose, whose, "{text}");
            assert!(found[0].meaning.contains(part), "{text}: {}", found[0].meaning);
        }
    }

    #[test]
    fn one_code_of_two_providers_is_told_by_either() {
        let whose =
            |text: &str| explanations(&Quote::parse(text).unwrap()).iter().map(|row| row.whose).collect::<Vec<_>>();
        let both = whose("5.7.30");
        assert!(both.contains(&Some("Google")) && both.contains(&Some("Microsoft")), "{both:?}");
        assert_eq!(whose("550 5.7.30 x - gsmtp"), [Some("Google")]);
    }
}
