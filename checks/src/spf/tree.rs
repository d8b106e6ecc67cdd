//! The records that a domain's record leads to, whatever the sender's address.
//!
//! The tree is fetched with every question as early as it can be asked, so that it costs its depth in round trips;
//! evaluations that run meanwhile find their answers asked for already.

use std::{
    collections::{HashMap, HashSet},
    net::{IpAddr, Ipv4Addr},
    rc::Rc,
    sync::Arc,
};

use futures_util::{
    future::{FutureExt, LocalBoxFuture},
    stream::{FuturesUnordered, StreamExt},
};
use hickory_resolver::proto::rr::RecordType;
use syntax::{
    Name,
    address::Family,
    spf::{Mechanism, Record, SyntaxError, is_spf, macros::MacroString},
};

use super::evaluate::{MOST_NAMES, Sender};
use crate::{
    Context, Evidence,
    net::{
        NoAnswer,
        dns::{Answer, Dns},
    },
};

/// How many different questions one domain's tree may ask; a tree that wants more is broken anyway.
const MOST_QUESTIONS: usize = 100;

/// How many terms that ask DNS are followed, for the same reason: a single record has room for thousands.
const MOST_TERMS: usize = 300;

/// What stands at a domain where an SPF record is looked for.
#[derive(Clone, Debug)]
pub(super) enum Published {
    /// One record.
    One(Arc<Record>),
    /// One record that the grammar does not accept, and its text.
    Spoiled(Arc<str>, SyntaxError),
    /// None, and why.
    Nothing(String),
    /// More than one.
    Several(Arc<[Vec<u8>]>),
    /// It could not be found out.
    Silent(NoAnswer),
}

/// What stands at `domain`, and how that was seen.
pub(super) async fn published(dns: &Dns, domain: &Name) -> (Published, Vec<Evidence>) {
    match dns.ask(domain, RecordType::TXT).await {
        Ok(answer) => (Published::of(&answer), vec![answer.evidence()]),
        Err(silence) => {
            let evidence = vec![silence.evidence()];
            (Published::Silent(silence), evidence)
        }
    }
}

impl Published {
    /// What an answer of TXT records comes to, parsed once.
    pub(super) fn of(answer: &Answer) -> Self {
        Self::clone(&answer.reading(Self::read))
    }

    fn read(answer: &Answer) -> Self {
        let texts: Vec<Vec<u8>> = answer.texts().into_iter().filter(|text| is_spf(text)).collect();
        match texts.as_slice() {
            [] if answer.is_nxdomain() => Self::Nothing(answer.absence()),
            [] => Self::Nothing("no TXT record that begins with v=spf1".to_owned()),
            [text] => match Record::parse(text) {
                Ok(record) => Self::One(Arc::new(record)),
                Err(error) => Self::Spoiled(String::from_utf8_lossy(text).into(), error),
            },
            _ => Self::Several(texts.into()),
        }
    }
}

/// Every record that a domain's record leads to.
pub(super) struct Tree {
    root: Name,
    sender: Sender,
    /// Whether the sender's address and local part are left open.
    is_anywhere: bool,
    families: Vec<Family>,
    asked: HashSet<(Name, RecordType)>,
    places: HashMap<Name, Published>,
    /// How many terms ask DNS.
    terms: usize,
    /// Whether there is more than [`MOST_QUESTIONS`] or [`MOST_TERMS`] would show.
    pub(super) cut: bool,
}

/// What a term costs: itself, and what is inside the record it leads to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Cost {
    pub(super) term: String,
    pub(super) lookups: usize,
    inside: Rc<[Cost]>,
}

/// A question on its way, and what its answer leads to.
type Asking<'a> = LocalBoxFuture<'a, (Name, Arrival)>;

enum Arrival {
    Record(Published),
    Exchanges(Vec<Name>),
    Nothing,
}

impl Tree {
    /// Fetches the tree of `root`, and asks along the way what its terms will ask about outgoing addresses.
    pub(super) async fn fetch(cx: &Context, root: &Name) -> Self {
        let named: Vec<IpAddr> = cx.named_addresses().collect();
        let is_used = |family: &Family| named.is_empty() || named.iter().any(|address| Family::of(*address) == *family);
        let helo = cx.target.hostname.as_ref().map(ToString::to_string).unwrap_or_default();
        let anywhere = IpAddr::V4(Ipv4Addr::UNSPECIFIED);
        let tree = Self {
            root: root.clone(),
            sender: Sender::new(anywhere, &helo, &format!("postmaster@{root}"), cx.now),
            is_anywhere: true,
            families: cx.families().filter(is_used).collect(),
            asked: HashSet::new(),
            places: HashMap::new(),
            terms: 0,
            cut: false,
        };
        tree.grown(&cx.net.dns).await
    }

    /// Asks what the evaluation of `sender` will ask.
    pub(super) async fn ahead_of(dns: &Dns, sender: &Sender) {
        let Some(root) = sender.name() else { return };
        let families = vec![Family::of(sender.ip())];
        let tree = Self {
            root,
            sender: sender.clone(),
            is_anywhere: false,
            families,
            asked: HashSet::new(),
            places: HashMap::new(),
            terms: 0,
            cut: false,
        };
        tree.grown(dns).await;
    }

    async fn grown(mut self, dns: &Dns) -> Self {
        let mut asking: FuturesUnordered<Asking<'_>> = FuturesUnordered::new();
        let mut wanted = vec![(self.root.clone(), RecordType::TXT)];
        loop {
            for question in wanted.drain(..) {
                if self.asked.len() == MOST_QUESTIONS {
                    self.cut |= question.1 == RecordType::TXT && !self.asked.contains(&question);
                } else if self.asked.insert(question.clone()) {
                    asking.push(arrival(dns, question).boxed_local());
                }
            }
            let Some((name, arrival)) = asking.next().await else { return self };
            match arrival {
                Arrival::Record(published) => {
                    if let Published::One(record) = &published {
                        self.terms += record.reachable().filter(|directive| directive.mechanism.asks()).count();
                        self.cut |= self.terms > MOST_TERMS;
                        wanted = if self.cut { Vec::new() } else { self.questions(&name, record) };
                    }
                    self.places.insert(name, published);
                }
                // Of more exchanges the evaluation asks by itself, if it comes so far: they are a permanent error.
                Arrival::Exchanges(names) if names.len() > MOST_NAMES => {}
                Arrival::Exchanges(names) => wanted = names.iter().flat_map(|name| self.addresses(name)).collect(),
                Arrival::Nothing => {}
            }
        }
    }

    /// The domains that evaluation may reach, with what stands there, in the order of a walk.
    pub(super) fn walk(&self) -> Vec<(&Name, &Published)> {
        let mut seen: Vec<(&Name, &Published)> = Vec::new();
        let mut next = vec![self.root.clone()];
        while let Some(domain) = next.pop() {
            let Some((domain, published)) = self.places.get_key_value(&domain) else { continue };
            if seen.iter().any(|(known, _)| *known == domain) {
                continue;
            }
            seen.push((domain, published));
            if let Published::One(record) = published {
                let mut targets = self.leads_to(domain, record);
                targets.retain(|target| !next.contains(target));
                next.extend(targets.into_iter().rev());
            }
        }
        seen
    }

    /// The good records among [`Tree::walk`].
    pub(super) fn records(&self) -> impl Iterator<Item = (&Name, &Record)> {
        self.walk().into_iter().filter_map(|(domain, published)| match published {
            Published::One(record) => Some((domain, record.as_ref())),
            _ => None,
        })
    }

    /// What could not be found out, if anything.
    pub(super) fn silence(&self) -> Option<NoAnswer> {
        self.walk().into_iter().find_map(|(_, published)| match published {
            Published::Silent(silence) => Some(silence.clone()),
            _ => None,
        })
    }

    /// What stands at `domain`, if it belongs to the tree and was fetched.
    pub(super) fn at(&self, domain: &Name) -> Option<(&Name, &Published)> {
        self.places.get_key_value(domain)
    }

    /// What the terms of the root's record cost, worst case: each is counted every time it is reached, `all` ends a
    /// record, and `redirect` counts where there is no `all`.
    ///
    /// # Errors
    /// The path that leads back to itself.
    pub(super) fn costs(&self) -> Result<Rc<[Cost]>, Vec<Name>> {
        self.costs_of(&self.root, &mut vec![self.root.clone()], &mut HashMap::new())
    }

    /// The recursion is no deeper than there are distinct names, of which there are at most [`MOST_QUESTIONS`].
    fn costs_of(
        &self,
        domain: &Name,
        path: &mut Vec<Name>,
        known: &mut HashMap<Name, Rc<[Cost]>>,
    ) -> Result<Rc<[Cost]>, Vec<Name>> {
        if let Some(costs) = known.get(domain) {
            return Ok(Rc::clone(costs));
        }
        let Some(Published::One(record)) = self.places.get(domain) else { return Ok(Rc::from([])) };
        let mut costs = Vec::new();
        let branches = record.reachable().filter_map(|directive| match &directive.mechanism {
            mechanism if !mechanism.asks() => None,
            Mechanism::Include(target) => Some((&directive.text, Some(target))),
            _ => Some((&directive.text, None)),
        });
        let redirect = record.reachable_redirect().map(|redirect| (&redirect.text, Some(&redirect.target)));
        for (term, target) in branches.chain(redirect) {
            let inside = match target.and_then(|target| self.fixed(domain, target)) {
                Some(target) => self.costs_inside(target, path, known)?,
                None => Rc::from([]),
            };
            let lookups = inside.iter().fold(1_usize, |sum, cost: &Cost| sum.saturating_add(cost.lookups));
            costs.push(Cost { term: term.clone(), lookups, inside });
        }
        let costs: Rc<[Cost]> = costs.into();
        known.insert(domain.clone(), Rc::clone(&costs));
        Ok(costs)
    }

    fn costs_inside(
        &self,
        target: Name,
        path: &mut Vec<Name>,
        known: &mut HashMap<Name, Rc<[Cost]>>,
    ) -> Result<Rc<[Cost]>, Vec<Name>> {
        let circular = path.contains(&target);
        path.push(target.clone());
        if circular {
            return Err(path.clone());
        }
        let costs = self.costs_of(&target, path, known);
        path.pop();
        costs
    }

    /// What the terms of a record ask.
    fn questions(&self, domain: &Name, record: &Record) -> Vec<(Name, RecordType)> {
        let named = |target: &Option<MacroString>| self.subject(domain, target.as_ref());
        let terms = record.reachable().flat_map(|directive| match &directive.mechanism {
            Mechanism::A(target, _) => named(target).map(|name| self.addresses(&name)).unwrap_or_default(),
            Mechanism::Mx(target, _) => Vec::from_iter(named(target).map(|name| (name, RecordType::MX))),
            Mechanism::Exists(target) => Vec::from_iter(self.fixed(domain, target).map(|name| (name, RecordType::A))),
            Mechanism::All | Mechanism::Ip(_) | Mechanism::Include(_) | Mechanism::Ptr(_) => Vec::new(),
        });
        terms.chain(self.leads_to(domain, record).into_iter().map(|target| (target, RecordType::TXT))).collect()
    }

    /// The domains of the records that a record leads to.
    fn leads_to(&self, domain: &Name, record: &Record) -> Vec<Name> {
        let includes = record.reachable().filter_map(|directive| match &directive.mechanism {
            Mechanism::Include(target) => Some(target),
            _ => None,
        });
        let redirect = record.reachable_redirect().map(|redirect| &redirect.target);
        includes.chain(redirect).take(MOST_TERMS).filter_map(|target| self.fixed(domain, target)).collect()
    }

    /// The name that a term in the record of `domain` is about: the domain itself where it names none. `None` where it
    /// depends on the sender's address.
    pub(super) fn subject(&self, domain: &Name, target: Option<&MacroString>) -> Option<Name> {
        target.map_or_else(|| Some(domain.clone()), |target| self.fixed(domain, target))
    }

    /// The name a `domain-spec` means, unless it depends on the sender's address or local part.
    pub(super) fn fixed(&self, domain: &Name, target: &MacroString) -> Option<Name> {
        let open: &[u8] = if self.is_anywhere { b"ipvls" } else { b"p" };
        if target.uses(open) {
            return None;
        }
        target.target(&self.sender.values(domain, ""))
    }

    fn addresses(&self, name: &Name) -> Vec<(Name, RecordType)> {
        self.families.iter().map(|family| (name.clone(), family.record_type())).collect()
    }
}

async fn arrival(dns: &Dns, (name, rtype): (Name, RecordType)) -> (Name, Arrival) {
    if rtype == RecordType::TXT {
        let (published, _) = published(dns, &name).await;
        return (name, Arrival::Record(published));
    }
    let arrival = match dns.ask(&name, rtype).await {
        Ok(answer) if rtype == RecordType::MX => {
            Arrival::Exchanges(answer.exchanges().into_iter().map(|(_, exchange)| exchange).collect())
        }
        _ => Arrival::Nothing,
    };
    (name, arrival)
}

impl Cost {
    /// The branches as lines, indented by depth, as many as one can read.
    pub(super) fn lines(costs: &[Self]) -> Vec<String> {
        let mut lines = Vec::new();
        let mut next: Vec<(usize, &Self)> = costs.iter().rev().map(|cost| (0, cost)).collect();
        while let Some((depth, cost)) = next.pop().filter(|_| lines.len() < MOST_QUESTIONS) {
            lines.push(format!("{}{} {}", "  ".repeat(depth), cost.lookups, cost.term));
            next.extend(cost.inside.iter().rev().map(|cost| (depth + 1, cost)));
        }
        lines
    }
}
