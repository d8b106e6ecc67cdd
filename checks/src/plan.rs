//! Which checks run: a value, made before anything is asked.

use futures_util::future::join_all;

use crate::{Check, Context, Finding, Status, check};

/// Which checks run, in report order.
pub struct Plan(Vec<&'static Check>);

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
        Ok(Self(check::all().filter(wanted).collect()))
    }

    /// The checks that will run, in report order.
    pub fn checks(&self) -> impl ExactSizeIterator<Item = &'static Check> {
        self.0.iter().copied()
    }

    /// Whether nothing will run.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Runs all checks at once; `done` is told of each that has finished. The findings come in report order.
    pub async fn run(&self, cx: &Context, done: impl Fn(&Check)) -> Vec<Finding> {
        let judged = join_all(self.0.iter().map(|check| async {
            let findings = check.judge(cx).await;
            done(check);
            findings.0.into_iter().map(|finding| self.signed(check, finding)).collect::<Vec<_>>()
        }));
        judged.await.into_iter().flatten().collect()
    }

    /// The finding in the name of its check. An absence whose owner does not run is nobody's: it stays unknown.
    fn signed(&self, check: &Check, finding: Finding) -> Finding {
        let orphaned = finding.owner.is_some_and(|owner| !self.0.iter().any(|planned| planned.id == owner));
        Finding {
            check: check.id,
            reference: check.reference,
            status: if orphaned { Status::Unknown } else { finding.status },
            ..finding
        }
    }
}

fn is_named(check: &Check, id: &str) -> bool {
    check.id == id || check.family() == id
}

/// The id or family that is most like `id`.
fn nearest(id: &str) -> &'static str {
    check::all()
        .flat_map(|check| [check.family(), check.id])
        .max_by(|a, b| strsim::jaro_winkler(id, a).total_cmp(&strsim::jaro_winkler(id, b)))
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ids(only: &[&str], skip: &[&str]) -> Result<Vec<&'static str>, UnknownId> {
        let owned = |ids: &[&str]| ids.iter().map(|id| (*id).to_owned()).collect::<Vec<_>>();
        Plan::new(&owned(only), &owned(skip)).map(|plan| plan.0.iter().map(|check| check.id).collect())
    }

    #[test]
    fn families_and_checks_can_be_named() {
        assert_eq!(
            ids(&["mx", "hostname.fqdn"], &["mx.address"]).unwrap(),
            ["hostname.fqdn", "mx.record", "mx.starttls"]
        );
        assert_eq!(ids(&[], &[]).unwrap().len(), check::all().count());
    }

    #[test]
    fn an_unknown_id_gets_the_nearest_name() {
        assert_eq!(ids(&["spf.lookup"], &[]).unwrap_err().nearest, "spf.lookups");
        assert_eq!(ids(&[], &["host"]).unwrap_err().nearest, "hostname");
    }
}
