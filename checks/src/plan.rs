//! Which checks run: a value, made before anything is asked.

use std::{future::poll_fn, task::Poll};

use futures_util::future::join_all;
use syntax::text::beginning;
use tokio::time::Instant;

use crate::{
    Check, Context, Finding, Findings, Status,
    check::{self, Judge, Judgement},
    dns,
    net::Deadline,
    receiver,
};

/// No id is as long, in octets.
const LONGEST_ID: usize = 64;

/// Which checks run, in report order.
pub struct Plan {
    reported: Vec<&'static Check>,
    /// What a summary among them looks at besides, left out with `skip` or not: it runs, and is not reported.
    read: Vec<&'static Check>,
}

/// `--only` or `--skip` names nothing that exists.
#[derive(Debug, PartialEq, Eq)]
pub struct UnknownId {
    /// What was typed.
    pub id: String,
    /// What comes nearest to it.
    pub nearest: &'static str,
}

impl Plan {
    /// The checks named by `only` (all, if it is empty) less those named by `skip`; a family names its checks.
    ///
    /// # Errors
    /// The first id that names nothing.
    pub fn new(only: &[String], skip: &[String]) -> Result<Self, UnknownId> {
        if let Some(id) = only.iter().chain(skip).find(|id| !check::all().any(|check| is_named(check, id))) {
            return Err(UnknownId { id: id.clone(), nearest: nearest(id) });
        }
        let named = |check: &Check, ids: &[String]| ids.iter().any(|id| is_named(check, id));
        let wanted = |check: &&Check| (only.is_empty() || named(check, only)) && !named(check, skip);
        let reported: Vec<_> = check::all().filter(wanted).collect();
        let is_read = reported.iter().any(|check| matches!(check.judge(), Judge::Findings(_)));
        let is_source = |check: &&Check| receiver::SOURCES.contains(&check.family());
        let besides = check::all().filter(|check| is_read && is_source(check) && !wanted(check));
        Ok(Self { read: besides.collect(), reported })
    }

    /// The checks that will run, in report order.
    pub fn checks(&self) -> impl ExactSizeIterator<Item = &'static Check> {
        self.reported.iter().copied()
    }

    /// Whether nothing will run.
    pub fn is_empty(&self) -> bool {
        self.reported.is_empty()
    }

    /// Runs all checks at once; `done` is told of each that has finished. The findings come in report order.
    pub async fn run(&self, cx: &Context, done: impl Fn(&Check)) -> Vec<Finding> {
        let judged = join_all(self.reported.iter().chain(&self.read).map(|check| async {
            let Judge::World(judge) = check.judge() else { return Vec::new() };
            let findings = in_time(cx.net.dns.deadline(), judge(cx)).await;
            done(check);
            findings.0.into_iter().map(|finding| signed(check, finding)).collect::<Vec<_>>()
        }));
        let findings = judged.await.into_iter().flatten();
        let mut findings = join_all(findings.map(|finding| self.explained(cx, finding))).await;
        let mut summaries = Vec::new();
        for check in &self.reported {
            if let Judge::Findings(judge) = check.judge() {
                summaries.extend(judge(cx, &findings).into_iter().map(|finding| signed(check, finding)));
                done(check);
            }
        }
        findings.retain(|finding| self.reported.iter().any(|check| check.id == finding.check));
        findings.extend(summaries);
        findings.into_iter().map(|finding| self.owned(finding)).collect()
    }

    /// Where all about a domain is silence, one finding tells of it, and those that come from the same silence point there.
    async fn explained(&self, cx: &Context, finding: Finding) -> Finding {
        const OWNER: &str = "dns.answers";
        let is_told = finding.check != OWNER && self.reported.iter().any(|planned| planned.id == OWNER);
        match &finding.silence {
            Some(name) if is_told && finding.status == Status::Unknown => match dns::cause(cx, name).await {
                Some(cause) => Finding {
                    status: Status::Skip,
                    message: format!("needs DNS of {cause}, see {OWNER}"),
                    evidence: Vec::new(),
                    fix: None,
                    ..finding
                },
                None => finding,
            },
            _ => finding,
        }
    }

    /// An absence whose owner is not reported is nobody's: it stays unknown.
    fn owned(&self, finding: Finding) -> Finding {
        let is_reported = |owner| self.reported.iter().any(|planned| planned.id == owner);
        match finding.owner {
            Some(owner) if !is_reported(owner) => finding.with_status(Status::Unknown),
            _ => finding,
        }
        .abridged()
    }
}

/// The finding in the name of its check.
fn signed(check: &Check, finding: Finding) -> Finding {
    Finding { check: check.id, reference: check.reference, ..finding }
}

/// The judgement, unless it takes more computing than there is time for: what is not judged then is unknown.
async fn in_time(deadline: Deadline, mut judgement: Judgement<'_>) -> Findings {
    poll_fn(|task| match Instant::now() >= deadline.end() {
        true => Poll::Ready(Finding::unknown(deadline.shortage().to_string()).into()),
        false => judgement.as_mut().poll(task),
    })
    .await
}

fn is_named(check: &Check, id: &str) -> bool {
    check.id == id || check.family() == id
}

/// The id or family that is most like `id`. The likeness takes time by the square of the length, and of a word that is longer
/// than any id the beginning says as much.
fn nearest(id: &str) -> &'static str {
    let id = beginning(id, LONGEST_ID);
    check::all()
        .flat_map(|check| [check.family(), check.id])
        .max_by(|a, b| strsim::jaro_winkler(id, a).total_cmp(&strsim::jaro_winkler(id, b)))
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn ids(only: &[&str], skip: &[&str]) -> Result<Vec<&'static str>, UnknownId> {
        let owned = |ids: &[&str]| ids.iter().map(|id| (*id).to_owned()).collect::<Vec<_>>();
        Plan::new(&owned(only), &owned(skip)).map(|plan| plan.reported.iter().map(|check| check.id).collect())
    }

    #[test]
    fn families_and_checks_can_be_named() {
        let mut wanted = vec!["hostname.fqdn"];
        wanted.extend(check::all().map(|check| check.id).filter(|id| id.starts_with("mx.") && *id != "mx.address"));
        assert_eq!(ids(&["mx", "hostname.fqdn"], &["mx.address"]).unwrap(), wanted);
        assert_eq!(ids(&[], &[]).unwrap().len(), check::all().count());
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_not_judged_in_time_is_unknown() {
        let deadline = Deadline::after(Duration::from_secs(20));
        let computing = async |seconds: u64| {
            for _ in 0..seconds {
                tokio::time::advance(Duration::from_secs(1)).await;
            }
            Finding::pass("judged").into()
        };
        let judged = in_time(deadline, Box::pin(computing(10))).await;
        assert_eq!(judged.0[0].status, Status::Pass);
        let judged = in_time(deadline, Box::pin(computing(100))).await;
        assert_eq!((judged.0[0].status, judged.0[0].message.as_str()), (Status::Unknown, "not finished within 20s"));
    }

    #[test]
    fn an_unknown_id_gets_the_nearest_name() {
        assert_eq!(ids(&["spf.lookup"], &[]).unwrap_err().nearest, "spf.lookups");
        assert_eq!(ids(&[], &["host"]).unwrap_err().nearest, "hostname");
    }
}
