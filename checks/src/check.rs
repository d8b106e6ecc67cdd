//! One thing that must be true before you send mail, and the macro that declares it.

use std::{future::Future, pin::Pin};

use crate::{Context, Finding, Findings};

/// What a check's judgement is while it is being reached.
pub(crate) type Judgement<'a> = Pin<Box<dyn Future<Output = Findings> + 'a>>;

/// One thing that must be true before you send mail.
pub struct Check {
    /// `family.subject`, the stable name of the check.
    pub id: &'static str,
    /// The standard that says so.
    pub reference: &'static str,
    docs: &'static str,
    judge: Judge,
}

/// Where a check looks.
#[derive(Clone, Copy)]
pub(crate) enum Judge {
    /// At the world.
    World(for<'a> fn(&'a Context) -> Judgement<'a>),
    /// At what the other checks have found.
    Findings(fn(&Context, &[Finding]) -> Vec<Finding>),
}

/// Every check, in report order.
pub fn all() -> impl Iterator<Item = &'static Check> {
    crate::FAMILIES.iter().flat_map(|family| family.iter())
}

impl Check {
    pub(crate) const fn new(id: &'static str, reference: &'static str, docs: &'static str, judge: Judge) -> Self {
        Self { id, reference, docs, judge }
    }

    /// The part of the id before the dot: the file, the `--only` word and the fixture folder.
    pub fn family(&self) -> &'static str {
        self.id.split('.').next().unwrap_or(self.id)
    }

    /// One line that is true when the check passes.
    pub fn title(&self) -> &'static str {
        self.docs.lines().next().unwrap_or_default().trim()
    }

    /// Why it matters: what stands between the title and `# Fix`.
    pub fn explanation(&self) -> String {
        let (why, _) = self.docs.split_once("# Fix").unwrap_or((self.docs, ""));
        unindented(why.split_once('\n').map_or("", |(_, rest)| rest))
    }

    /// What to do when it does not pass.
    pub fn remedy(&self) -> String {
        unindented(self.docs.split_once("# Fix").map_or("", |(_, fix)| fix))
    }

    pub(crate) fn judge(&self) -> Judge {
        self.judge
    }
}

/// Doc comment lines come with the blank that follows `///`.
fn unindented(text: &str) -> String {
    let lines: Vec<&str> = text.lines().map(|line| line.strip_prefix(' ').unwrap_or(line)).collect();
    lines.join("\n").trim().to_owned()
}

/// A family's table of contents: the doc comment, the id, the standard, and the function that judges.
macro_rules! checks {
    ($($(#[doc = $line:literal])+ $id:literal ($reference:literal) => $judge:ident,)+) => {
        pub(crate) static CHECKS: &[$crate::Check] = &[$(
            $crate::Check::new($id, $reference, concat!($($line, "\n"),+), $crate::check::Judge::World(|cx| {
                Box::pin(async move { $judge(cx).await.into() })
            }))
        ),+];
    };
}
pub(crate) use checks;

/// The same for a family whose checks look at what the others have found.
macro_rules! summaries {
    ($($(#[doc = $line:literal])+ $id:literal ($reference:literal) => $judge:ident,)+) => {
        pub(crate) static CHECKS: &[$crate::Check] = &[$(
            $crate::Check::new($id, $reference, concat!($($line, "\n"),+), $crate::check::Judge::Findings($judge))
        ),+];
    };
}
pub(crate) use summaries;
