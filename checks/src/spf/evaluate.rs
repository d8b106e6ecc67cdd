//! `check_host()` of RFC 7208 section 4, with a trace of what it did.
//!
//! The records that `include` and `redirect` lead to are frames on a stack of our own: no input makes it deep.

use std::{net::IpAddr, sync::Arc, time::SystemTime};

use futures_util::future::{join, join_all};
use hickory_resolver::proto::rr::RecordType;
use syntax::{
    Name,
    address::Family,
    shell,
    spf::macros::{MacroString, Values},
    spf::{Directive, Mechanism, Network, Prefixes, Qualifier, Record},
    text::beginning,
    text::line,
};
use tokio::{task::coop::consume_budget, time::Instant};

use super::{
    evaluation::{Evaluation, Step, Verdict},
    tree::{Published, Tree},
};
use crate::net::{
    NoAnswer,
    dns::{Answer, Dns},
};

/// How many terms may ask DNS (section 4.6.4).
pub(crate) const MOST_LOOKUPS: usize = 10;

/// How many answers may be empty (section 4.6.4).
pub(crate) const MOST_VOID_LOOKUPS: usize = 2;

/// How many exchanges of an `mx`, and how many names of a `ptr`, are looked up (section 4.6.4).
pub(crate) const MOST_NAMES: usize = 10;

/// How much of an answer the trace shows, in octets.
const LONGEST_ANSWER: usize = 2 * 1024;

/// How much of an explanation is shown, in octets: a reply of SMTP has no room for more (RFC 5321 section 4.5.3.1.5), were it
/// of four lines.
const LONGEST_EXPLANATION: usize = 2 * 1024;

/// How many terms the trace tells of.
const MOST_STEPS: usize = 500;

/// Who sends, and from where.
#[derive(Clone, Debug)]
pub struct Sender {
    ip: IpAddr,
    helo: Vec<u8>,
    local_part: Vec<u8>,
    domain: Vec<u8>,
    now: SystemTime,
}

/// Why an evaluation ends without a match.
enum Stop {
    Permerror(String),
    Temperror(NoAnswer),
}

impl From<NoAnswer> for Stop {
    fn from(silence: NoAnswer) -> Self {
        Self::Temperror(silence)
    }
}

impl Sender {
    /// A sender as SMTP knows it: the client's address, the HELO name and the reverse-path. An empty reverse-path means
    /// `postmaster` at the HELO name (section 2.4).
    pub fn new(ip: IpAddr, helo: &str, reverse_path: &str, now: SystemTime) -> Self {
        let (local_part, domain) = match reverse_path.rsplit_once('@') {
            Some((local_part, domain)) => (local_part, domain),
            None if reverse_path.is_empty() => ("", helo),
            None => ("", reverse_path),
        };
        Self {
            ip: ip.to_canonical(),
            helo: helo.into(),
            local_part: if local_part.is_empty() { "postmaster".into() } else { local_part.into() },
            domain: domain.into(),
            now,
        }
    }

    /// What macros stand for in the record of `domain`.
    pub(super) fn values<'a>(&'a self, domain: &'a Name, validated: &'a str) -> Values<'a> {
        Values {
            local_part: &self.local_part,
            sender_domain: &self.domain,
            domain,
            ip: self.ip,
            helo: &self.helo,
            validated,
            now: self.now,
        }
    }

    /// The client's address, the HELO name and the reverse-path, as they were given.
    pub(crate) fn identities(&self) -> (IpAddr, String, String) {
        let text = |octets: &[u8]| String::from_utf8_lossy(octets).into_owned();
        (self.ip, text(&self.helo), format!("{}@{}", text(&self.local_part), text(&self.domain)))
    }

    /// The client's address.
    pub(super) fn ip(&self) -> IpAddr {
        self.ip
    }

    /// The name whose record is evaluated, if it can have one: it is no domain literal and has two labels or more
    /// (section 4.3).
    pub(super) fn name(&self) -> Option<Name> {
        if self.domain.starts_with(b"[") {
            return None;
        }
        let text = self.domain.strip_suffix(b".").unwrap_or(&self.domain);
        let name = Name::from_labels(text.split(|octet| *octet == b'.')).ok()?;
        (name.depth() > 1).then_some(name)
    }
}

/// Evaluates whether `sender` may use its domain.
///
/// The records are asked for together, as early as one leads to the next; the evaluation goes term by term, and finds
/// its answers there.
pub async fn check_host(dns: &Dns, sender: &Sender) -> Evaluation {
    join(term_by_term(dns, sender), Tree::ahead_of(dns, sender)).await.0
}

async fn term_by_term(dns: &Dns, sender: &Sender) -> Evaluation {
    let mut run = Run {
        dns,
        sender,
        frames: Vec::new(),
        lookups: 0,
        void_lookups: 0,
        trace: Vec::new(),
        left_out: 0,
        matched: None,
        path: vec![String::from_utf8_lossy(&sender.domain).to_ascii_lowercase()],
        unanswered: Vec::new(),
    };
    let (verdict, reason) = match run.evaluate().await {
        Ok(verdict) => (verdict, None),
        Err(Stop::Permerror(reason)) => (Verdict::Permerror, Some(reason)),
        Err(Stop::Temperror(silence)) => (Verdict::Temperror, Some(silence.to_string())),
    };
    let unanswered = std::mem::take(&mut run.unanswered).into_iter();
    let unanswered = unanswered.filter(|(would_be, _)| *would_be != Some(verdict)).map(|(_, silence)| silence).next();
    let explanation = match verdict {
        Verdict::Fail => run.explanation().await,
        _ => None,
    };
    Evaluation {
        verdict,
        mechanism: run.matched,
        path: run.path,
        lookups: run.lookups,
        void_lookups: run.void_lookups,
        reason,
        explanation,
        trace: run.trace,
        left_out: run.left_out,
        unanswered: unanswered.filter(|_| verdict != Verdict::Temperror),
    }
}

/// An evaluation that is under way.
struct Run<'a> {
    dns: &'a Dns,
    sender: &'a Sender,
    frames: Vec<Frame>,
    lookups: usize,
    void_lookups: usize,
    trace: Vec<Step>,
    left_out: usize,
    matched: Option<String>,
    path: Vec<String>,
    /// What a `ptr` or `%{p}` was not told, and what a match would have made of the evaluation, where that is plain.
    unanswered: Vec<(Option<Verdict>, NoAnswer)>,
}

/// A record whose terms are being evaluated.
struct Frame {
    domain: Name,
    record: Arc<Record>,
    next: usize,
    /// The directive that included it.
    includer: Option<Directive>,
    path: Vec<String>,
    /// Where the step of the directive that included it stands in the trace.
    step: usize,
}

impl Frame {
    /// Whether a match of the directive that is being evaluated is a pass.
    fn passes(&self) -> bool {
        let directive = self.next.checked_sub(1).and_then(|at| self.record.directives.get(at));
        directive.is_some_and(|directive| directive.qualifier == Qualifier::Pass)
    }
}

impl Run<'_> {
    async fn evaluate(&mut self) -> Result<Verdict, Stop> {
        let Some(domain) = self.sender.name() else { return Ok(Verdict::None) };
        match self.record(&domain).await? {
            Some(record) => self.enter(domain.clone(), record, None, 0)?,
            None => return Ok(Verdict::None),
        }
        loop {
            // A record has room for thousands of terms that ask nobody: others get their turn, and time goes by.
            consume_budget().await;
            if Instant::now() >= self.dns.deadline().overdue() {
                return Err(self.shortage(&domain).into());
            }
            let Some(frame) = self.frames.last_mut() else { return Ok(Verdict::Neutral) };
            if let Some(directive) = frame.record.directives.get(frame.next).cloned() {
                frame.next += 1;
                if self.holds(&directive).await?
                    && let Some(verdict) = self.unwind(&directive)
                {
                    return Ok(verdict);
                }
            } else if let Some(redirect) = frame.record.redirect.clone() {
                self.redirect(&redirect.text, &redirect.target).await?;
            } else if self.frames.len() > 1 {
                // An included record in which nothing matches is neutral, and does not match itself (section 5.2).
                self.leave();
            } else {
                return Ok(Verdict::Neutral);
            }
        }
    }

    /// The time has run out while terms were looked at.
    fn shortage(&self, domain: &Name) -> NoAnswer {
        NoAnswer {
            name: Box::new(domain.clone()),
            question: format!("SPF of {domain}"),
            command: format!("dig +short {} TXT", shell::word(&domain.to_string())),
            reason: self.dns.deadline().shortage(),
        }
    }

    /// A directive matched: the verdict, unless it only ends an included record (section 5.2).
    fn unwind(&mut self, directive: &Directive) -> Option<Verdict> {
        if let Some(frame) = self.frames.last() {
            self.matched = Some(directive.text.clone());
            self.path.clone_from(&frame.path);
        }
        let mut verdict = directive.qualifier.into();
        while let Some(includer) = self.frames.last().and_then(|frame| frame.includer.clone()) {
            if verdict != Verdict::Pass {
                self.leave();
                return None;
            }
            let frame = self.frames.pop()?;
            if let Some(step) = self.trace.get_mut(frame.step) {
                step.matched = true;
            }
            verdict = includer.qualifier.into();
        }
        Some(verdict)
    }

    /// Goes on in the record of `domain`.
    fn enter(
        &mut self,
        domain: Name,
        record: Arc<Record>,
        includer: Option<Directive>,
        step: usize,
    ) -> Result<(), Stop> {
        let mut path = self.frames.last().map(|frame| frame.path.clone()).unwrap_or_default();
        path.push(domain.to_string());
        self.path.clone_from(&path);
        self.frames.push(Frame { domain, record, next: 0, includer, path, step });
        Ok(())
    }

    /// Goes back to the record that included this one: nothing in it decided.
    fn leave(&mut self) {
        self.frames.pop();
        self.matched = None;
        if let Some(outer) = self.frames.last() {
            self.path.clone_from(&outer.path);
        }
    }

    /// The parsed record of `domain`, if it has one (section 4.5).
    async fn record(&mut self, domain: &Name) -> Result<Option<Arc<Record>>, Stop> {
        let answer = self.reply(domain, RecordType::TXT).await?;
        match Published::of(&answer) {
            Published::One(record) => Ok(Some(record)),
            Published::Nothing(_) => Ok(None),
            Published::Spoiled(_, error) => Err(Stop::Permerror(format!("the record of {domain}: {error}"))),
            Published::Several(several) => Err(Stop::Permerror(format!("{domain} has {} SPF records", several.len()))),
            Published::Silent(silence) => Err(silence.into()),
        }
    }

    /// Whether a directive matches by itself; `include` pushes a frame instead.
    async fn holds(&mut self, directive: &Directive) -> Result<bool, Stop> {
        let step = self.step(directive.text.clone());
        let matched = match &directive.mechanism {
            Mechanism::All => true,
            Mechanism::Ip(network) => network.contains(self.sender.ip),
            Mechanism::A(domain, prefixes) => self.a(domain.as_ref(), *prefixes, step).await?,
            Mechanism::Mx(domain, prefixes) => self.mx(domain.as_ref(), *prefixes, step).await?,
            Mechanism::Ptr(domain) => self.ptr(domain.as_ref(), step).await?,
            Mechanism::Exists(domain) => self.exists(domain, step).await?,
            Mechanism::Include(domain) => {
                self.include(directive, domain, step).await?;
                false
            }
        };
        if let Some(step) = self.trace.get_mut(step) {
            step.matched = matched;
        }
        Ok(matched)
    }

    async fn a(&mut self, domain: Option<&MacroString>, prefixes: Prefixes, step: usize) -> Result<bool, Stop> {
        self.count(step)?;
        let Some(name) = self.target(domain).await? else { return Ok(false) };
        let answer = self.ask(&name, self.address_type(), step).await?;
        Ok(self.is_near(&answer.addresses(), prefixes))
    }

    async fn mx(&mut self, domain: Option<&MacroString>, prefixes: Prefixes, step: usize) -> Result<bool, Stop> {
        self.count(step)?;
        let Some(name) = self.target(domain).await? else { return Ok(false) };
        let exchanges = self.ask(&name, RecordType::MX, step).await?.exchanges();
        // Asked for at once; what follows takes the answers in the order of preference.
        let rtype = self.address_type();
        join_all(exchanges.iter().take(MOST_NAMES).map(|(_, exchange)| self.dns.ask(exchange, rtype))).await;
        for (_, exchange) in exchanges.iter().take(MOST_NAMES) {
            let answer = self.ask(exchange, rtype, step).await?;
            if self.is_near(&answer.addresses(), prefixes) {
                return Ok(true);
            }
        }
        // Only who is not among the first ten makes an eleventh query, and so exceeds the limit (section 4.6.4).
        match exchanges.len() {
            ..=MOST_NAMES => Ok(false),
            many => Err(Stop::Permerror(format!("{name} has {many} MX, {MOST_NAMES} allowed"))),
        }
    }

    async fn ptr(&mut self, domain: Option<&MacroString>, step: usize) -> Result<bool, Stop> {
        self.count(step)?;
        let Some(name) = self.target(domain).await? else { return Ok(false) };
        let known = self.unanswered.len();
        let matched = self.validated(step).await?.iter().any(|pointer| pointer.is_within(&name));
        if matched {
            self.unanswered.truncate(known);
        } else if self.frames.iter().all(Frame::passes) {
            self.unanswered.iter_mut().skip(known).for_each(|(would_be, _)| *would_be = Some(Verdict::Pass));
        }
        Ok(matched)
    }

    async fn exists(&mut self, domain: &MacroString, step: usize) -> Result<bool, Stop> {
        self.count(step)?;
        let Some(name) = self.target(Some(domain)).await? else { return Ok(false) };
        // An A query, whatever the client's address is (section 5.7).
        Ok(!self.ask(&name, RecordType::A, step).await?.is_empty())
    }

    async fn include(&mut self, directive: &Directive, domain: &MacroString, step: usize) -> Result<(), Stop> {
        self.count(step)?;
        let record = match self.target(Some(domain)).await? {
            Some(name) => self.record(&name).await?.map(|record| (name, record)),
            None => None,
        };
        let missing = || Stop::Permerror(format!("{} leads to no SPF record", directive.text));
        let (name, record) = record.ok_or_else(missing)?;
        self.note(step, &record.text);
        self.enter(name, record, Some(directive.clone()), step)
    }

    /// The rest of the evaluation is that of another domain (section 6.1).
    async fn redirect(&mut self, text: &str, domain: &MacroString) -> Result<(), Stop> {
        let step = self.step(text.to_owned());
        self.count(step)?;
        let record = match self.target(Some(domain)).await? {
            Some(name) => self.record(&name).await?.map(|record| (name, record)),
            None => None,
        };
        let (name, record) = record.ok_or_else(|| Stop::Permerror(format!("{text} leads to no SPF record")))?;
        self.note(step, &record.text);
        let includer = self.frames.last().and_then(|frame| frame.includer.clone());
        let included_at = self.frames.last().map_or(0, |frame| frame.step);
        self.enter(name, record, includer, included_at)?;
        // The new frame takes the place of the one that redirected.
        let place = self.frames.len().saturating_sub(2);
        self.frames.remove(place);
        Ok(())
    }

    /// Begins the step of a term: where it stands in the trace. Of a record with more terms than anybody reads, the last one
    /// takes the place of the one before.
    fn step(&mut self, term: String) -> usize {
        let path = self.frames.last().map(|frame| frame.path.clone()).unwrap_or_default();
        if self.trace.len() == MOST_STEPS {
            self.trace.pop();
            self.left_out += 1;
        }
        self.trace.push(Step { path, term, lookups: 0, answer: String::new(), matched: false });
        self.trace.len() - 1
    }

    /// Counts a term that asks DNS.
    fn count(&mut self, step: usize) -> Result<(), Stop> {
        if self.lookups == MOST_LOOKUPS {
            return Err(Stop::Permerror(format!("more than {MOST_LOOKUPS} DNS lookups")));
        }
        self.lookups += 1;
        if let Some(step) = self.trace.get_mut(step) {
            step.lookups = 1;
        }
        Ok(())
    }

    /// Asks DNS in the course of a term; an answer without records counts as void.
    async fn ask(&mut self, name: &Name, rtype: RecordType, step: usize) -> Result<Answer, Stop> {
        let answer = self.reply(name, rtype).await?;
        self.note(step, &format!("{rtype} {name}: {}", answer.evidence().output.replace('\n', ", ")));
        if answer.is_empty() {
            self.void_lookups += 1;
            if self.void_lookups > MOST_VOID_LOOKUPS {
                return Err(Stop::Permerror(format!("more than {MOST_VOID_LOOKUPS} void lookups")));
            }
        }
        Ok(answer)
    }

    async fn reply(&mut self, name: &Name, rtype: RecordType) -> Result<Answer, NoAnswer> {
        self.dns.ask(name, rtype).await
    }

    fn note(&mut self, step: usize, answer: &str) {
        if let Some(step) = self.trace.get_mut(step) {
            let separator = if step.answer.is_empty() { "" } else { "; " };
            step.answer.push_str(separator);
            let shown = beginning(answer, LONGEST_ANSWER);
            step.answer.push_str(shown);
            step.answer.push_str(if shown.len() < answer.len() { "…" } else { "" });
        }
    }

    /// The domain a term is about: the one it names, or else the one whose record it stands in.
    async fn target(&mut self, domain: Option<&MacroString>) -> Result<Option<Name>, Stop> {
        let Some(current) = self.frames.last().map(|frame| frame.domain.clone()) else { return Ok(None) };
        match domain {
            Some(domain) => {
                let validated = self.validated_for(domain, &current).await?;
                Ok(domain.target(&self.sender.values(&current, &validated)))
            }
            None => Ok(Some(current)),
        }
    }

    /// What `%{p}` stands for, if the text uses it.
    async fn validated_for(&mut self, text: &MacroString, domain: &Name) -> Result<String, Stop> {
        if text.uses(b"p") { self.validated_name(domain).await } else { Ok(String::new()) }
    }

    /// What `%{p}` stands for (section 7.3): the domain itself, a name below it, any other, or `unknown`.
    async fn validated_name(&mut self, domain: &Name) -> Result<String, Stop> {
        let step = self.trace.len().saturating_sub(1);
        let validated = self.validated(step).await?;
        let best = validated
            .iter()
            .find(|name| *name == domain)
            .or_else(|| validated.iter().find(|name| name.is_within(domain)))
            .or(validated.first());
        Ok(best.map_or_else(|| "unknown".to_owned(), ToString::to_string))
    }

    /// The names of the client's address that lead back to it (section 5.5). What DNS does not answer does not match.
    async fn validated(&mut self, step: usize) -> Result<Vec<Name>, Stop> {
        let reverse = Name::reverse(self.sender.ip);
        let pointers = match self.ask(&reverse, RecordType::PTR, step).await {
            Ok(answer) => answer.pointers(),
            Err(Stop::Temperror(silence)) => {
                self.unanswered.push((None, silence));
                return Ok(Vec::new());
            }
            Err(stop) => return Err(stop),
        };
        let rtype = self.address_type();
        join_all(pointers.iter().take(MOST_NAMES).map(|name| self.dns.ask(name, rtype))).await;
        let mut validated = Vec::new();
        for name in pointers.into_iter().take(MOST_NAMES) {
            match self.ask(&name, rtype, step).await {
                Ok(answer) if answer.addresses().contains(&self.sender.ip) => validated.push(name),
                Ok(_) => {}
                Err(Stop::Temperror(silence)) => self.unanswered.push((None, silence)),
                Err(stop) => return Err(stop),
            }
        }
        Ok(validated)
    }

    /// What the domain says about a fail (section 6.2). Whatever goes wrong with it, there is just no explanation.
    async fn explanation(&mut self) -> Option<String> {
        let frame = self.frames.last()?;
        let exp = frame.record.exp.clone()?;
        let domain = frame.domain.clone();
        let name = self.target(Some(&exp.target)).await.ok()??;
        let texts = self.reply(&name, RecordType::TXT).await.ok()?.texts();
        let [text] = texts.as_slice() else { return None };
        let text = std::str::from_utf8(text).ok().filter(|text| text.is_ascii())?;
        let explanation = MacroString::explanation(text).ok()?;
        let validated = self.validated_for(&explanation, &domain).await.ok()?;
        let explanation = explanation.start(&self.sender.values(&domain, &validated), LONGEST_EXPLANATION);
        let text = String::from_utf8(explanation).ok().filter(|text| text.is_ascii() && !text.is_empty());
        text.map(|text| line(&text))
    }

    fn address_type(&self) -> RecordType {
        Family::of(self.sender.ip).record_type()
    }

    fn is_near(&self, addresses: &[IpAddr], prefixes: Prefixes) -> bool {
        let around = |address: &IpAddr| -> Network { prefixes.around(*address) };
        addresses.iter().any(|address| around(address).contains(self.sender.ip))
    }
}
