//! The DNS tree walk (RFC 9989 section 4.10): which record applies to a domain, and what its organization is.

use std::sync::Arc;

use futures_util::future::{join, join_all};
use hickory_resolver::proto::rr::RecordType;
use syntax::{
    Name,
    dmarc::{Alignment, Policy, Psd, Record, Whom, is_dmarc, is_meant},
};

use crate::{
    Context, Evidence,
    net::{NoAnswer, dns::Answer},
};

/// From a name with more labels the walk jumps to this many, so that it asks eight questions at most.
const JUMP: usize = 7;

/// What stands at `_dmarc` under a domain.
#[derive(Clone, Debug)]
pub(crate) enum Published {
    /// One record.
    One(Arc<Record>),
    /// More than one: receivers discard them all.
    Several(Vec<Vec<u8>>),
    /// A text that was meant as a record and is none.
    Odd(Vec<u8>),
    /// Nothing.
    Nothing,
    /// It could not be found out.
    Silent(NoAnswer),
}

/// One step of the walk.
#[derive(Clone, Debug)]
pub(crate) struct Place {
    /// The domain, without `_dmarc`.
    pub(crate) domain: Name,
    pub(crate) published: Published,
    /// Where the question went, if an answer came.
    pub(crate) answer: Option<Answer>,
}

/// The steps from a domain towards the root, up to where a receiver stops.
#[derive(Clone, Debug)]
pub(crate) struct Walk {
    start: Name,
    pub(crate) places: Vec<Place>,
}

/// The record that applies to a domain, and what it asks for.
#[derive(Clone, Debug)]
pub(crate) struct Applied {
    /// The domain at which the record stands: the domain itself, its organization, or its public suffix.
    pub(crate) at: Name,
    pub(crate) record: Record,
    /// The tag that the policy comes from.
    pub(crate) tag: &'static str,
    /// The policy before `t=y`; `None` where receivers do no DMARC processing.
    pub(crate) policy: Option<Policy>,
}

impl Walk {
    /// Walks from `start`, with every question at once.
    pub(crate) async fn of(cx: &Context, start: &Name) -> Self {
        let mut places = join_all(names(start).into_iter().map(|domain| place(cx, domain))).await;
        let stops = |place: &Place| place.record().is_some_and(|record| record.psd != Psd::Unsaid);
        if let Some(end) = places.iter().position(stops) {
            places.truncate(end + 1);
        }
        Self { start: start.clone(), places }
    }

    /// What stands at the domain itself.
    pub(crate) fn own(&self) -> &Published {
        self.places.first().map_or(&Published::Nothing, |place| &place.published)
    }

    /// The records, from the domain towards the root.
    fn records(&self) -> impl Iterator<Item = (&Name, &Record)> {
        self.places.iter().filter_map(|place| Some((&place.domain, place.record()?)))
    }

    fn silence(&self) -> Option<&NoAnswer> {
        self.places.iter().find_map(|place| match &place.published {
            Published::Silent(silence) => Some(silence),
            _ => None,
        })
    }

    /// The organizational domain (section 4.10.2), where the walk has found a record.
    ///
    /// # Errors
    /// A question that could have changed it was not answered.
    pub(crate) fn organization(&self) -> Result<Option<Name>, NoAnswer> {
        if let Some(silence) = self.silence() {
            return Err(silence.clone());
        }
        for (domain, record) in self.records() {
            match record.psd {
                Psd::No => return Ok(Some(domain.clone())),
                Psd::Yes if *domain != self.start => return Ok(Some(self.below(domain))),
                Psd::Yes | Psd::Unsaid => {}
            }
        }
        Ok(self.records().last().map(|(domain, _)| domain.clone()))
    }

    /// The domain one label below `suffix` on the way to the start.
    fn below(&self, suffix: &Name) -> Name {
        let mut name = self.start.clone();
        while name.depth() > suffix.depth() + 1 {
            name = name.parent();
        }
        name
    }

    /// The record that applies: the domain's own, else its organization's, else its public suffix's (section 4.10.1).
    ///
    /// # Errors
    /// A question that decides was not answered.
    pub(crate) fn applied(&self) -> Result<Option<(&Name, &Record)>, NoAnswer> {
        match self.own() {
            Published::One(record) => return Ok(Some((&self.start, record))),
            Published::Silent(silence) => return Err(silence.clone()),
            Published::Several(_) | Published::Odd(_) | Published::Nothing => {}
        }
        let Some(organization) = self.organization()? else { return Ok(None) };
        Ok(self.records().find(|(domain, _)| **domain == organization).or_else(|| self.records().last()))
    }

    /// How the walk can be seen: the domain's own answer and the one that applies, or all where none does.
    pub(crate) fn evidence(&self) -> Vec<Evidence> {
        let applied = self.applied().ok().flatten().map(|(at, _)| at);
        let is_shown = |place: &&Place| applied.is_none_or(|at| place.domain == self.start || place.domain == *at);
        self.places.iter().filter(is_shown).filter_map(Place::evidence).collect()
    }
}

impl Place {
    pub(crate) fn record(&self) -> Option<&Record> {
        match &self.published {
            Published::One(record) => Some(record),
            _ => None,
        }
    }

    /// What there was to see.
    pub(crate) fn evidence(&self) -> Option<Evidence> {
        match (&self.published, &self.answer) {
            (Published::Silent(silence), _) => Some(silence.evidence()),
            (_, answer) => answer.as_ref().map(Answer::evidence),
        }
    }
}

/// The domains of the walk.
fn names(start: &Name) -> Vec<Name> {
    let mut names = vec![start.clone()];
    let mut next = start.parent();
    while next.depth() > JUMP {
        next = next.parent();
    }
    while !next.is_root() {
        names.push(next.clone());
        next = next.parent();
    }
    names
}

async fn place(cx: &Context, domain: Name) -> Place {
    // A name that DNS cannot carry holds no record.
    let Ok(name) = domain.child("_dmarc") else {
        return Place { domain, published: Published::Nothing, answer: None };
    };
    match cx.net.dns.ask(&name, RecordType::TXT).await {
        Ok(answer) => Place { domain, published: Published::clone(&answer.reading(read)), answer: Some(answer) },
        // A server that knows its own zones alone refuses to speak of their public suffix.
        Err(silence) if silence.reason.is_refusal() && domain.is_public_suffix() => {
            Place { domain, published: Published::Nothing, answer: None }
        }
        Err(silence) => Place { domain, published: Published::Silent(silence), answer: None },
    }
}

fn read(answer: &Answer) -> Published {
    let texts = answer.texts();
    let records: Vec<&Vec<u8>> = texts.iter().filter(|text| is_dmarc(text)).collect();
    match records.as_slice() {
        [text] => Record::parse(text).map_or(Published::Nothing, |record| Published::One(Arc::new(record))),
        [] => match texts.into_iter().find(|text| is_meant(text)) {
            Some(text) => Published::Odd(text),
            None => Published::Nothing,
        },
        several => Published::Several(several.iter().map(|text| (*text).clone()).collect()),
    }
}

/// What applies to mail from `domain`, if anything does.
pub(crate) async fn applied(cx: &Context, walk: &Walk) -> Result<Option<Applied>, NoAnswer> {
    let Some((at, record)) = walk.applied()? else { return Ok(None) };
    let whom = match *at == walk.start {
        true => Whom::Domain,
        false if record.policy(Whom::Subdomain) == record.policy(Whom::Nonexistent) => Whom::Subdomain,
        false if exists(cx, walk).await? => Whom::Subdomain,
        false => Whom::Nonexistent,
    };
    let (tag, policy) = record.policy(whom);
    Ok(Some(Applied { at: at.clone(), record: record.clone(), tag, policy }))
}

/// Whether the walk's domain exists: a name below it that does proves it (RFC 8020).
async fn exists(cx: &Context, walk: &Walk) -> Result<bool, NoAnswer> {
    let below = walk.places.first().and_then(|place| place.answer.as_ref());
    if below.is_some_and(|answer| !answer.is_nxdomain()) {
        return Ok(true);
    }
    Ok(!cx.net.dns.ask(&walk.start, RecordType::MX).await?.is_nxdomain())
}

/// The organizational domain of any name: itself, where the walk finds no record.
pub(crate) async fn organization(cx: &Context, name: &Name) -> Result<Name, NoAnswer> {
    Ok(Walk::of(cx, name).await.organization()?.unwrap_or_else(|| name.clone()))
}

/// Whether an authenticated domain is aligned with the From domain (section 4.4).
pub(crate) async fn is_aligned(cx: &Context, author: &Name, domain: &Name, mode: Alignment) -> Result<bool, NoAnswer> {
    if author == domain || mode == Alignment::Strict {
        return Ok(author == domain);
    }
    // Names that have not even the top-level domain in common have no organization in common.
    if author.labels().next_back() != domain.labels().next_back() {
        return Ok(false);
    }
    let (ours, theirs) = join(organization(cx, author), organization(cx, domain)).await;
    Ok(ours? == theirs?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_walk_asks_eight_questions_at_most() {
        let walk = |start: &str| names(&start.parse().unwrap()).iter().map(ToString::to_string).collect::<Vec<_>>();
        assert_eq!(walk("a.mail.example.com"), ["a.mail.example.com", "mail.example.com", "example.com", "com"]);
        assert_eq!(walk("com"), ["com"]);
        // RFC 9989 section 4.10.
        assert_eq!(
            walk("a.b.c.d.e.f.g.h.i.j.mail.example.com"),
            [
                "a.b.c.d.e.f.g.h.i.j.mail.example.com",
                "g.h.i.j.mail.example.com",
                "h.i.j.mail.example.com",
                "i.j.mail.example.com",
                "j.mail.example.com",
                "mail.example.com",
                "example.com",
                "com",
            ]
        );
        assert_eq!(walk("a.b.c.d.e.f.example.com").len(), 8);
        assert_eq!(walk("a.b.c.d.e.f.g.example.com").len(), 8);
    }
}
