//! How far the audit is, on a terminal that has waited for a second.

use std::{cell::RefCell, time::Duration};

use checks::{Context, Finding, Plan};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use tokio::{
    pin, select,
    time::{interval, sleep},
};

/// Whoever waits longer wants to know what for.
const PATIENCE: Duration = Duration::from_secs(1);

/// How often something moves.
const TICK: Duration = Duration::from_millis(100);

/// Runs the plan. A terminal on standard error sees how far it is and what it waits for, and nothing of it afterwards.
pub(crate) async fn shown(plan: &Plan, cx: &Context) -> Vec<Finding> {
    let awaited: RefCell<Vec<&str>> = RefCell::new(plan.checks().map(|check| check.id).collect());
    let total = u64::try_from(awaited.borrow().len()).unwrap_or(u64::MAX);
    let bar = ProgressBar::with_draw_target(Some(total), ProgressDrawTarget::hidden());
    if let Ok(style) = ProgressStyle::with_template("{spinner} {pos}/{len} checks · {msg}") {
        bar.set_style(style);
    }
    let audit = plan.run(cx, |check| {
        let mut awaited = awaited.borrow_mut();
        awaited.retain(|id| *id != check.id);
        bar.set_message(awaited.first().copied().unwrap_or_default());
        bar.inc(1);
    });
    pin!(audit);
    let findings = select! {
        findings = &mut audit => findings,
        () = sleep(PATIENCE) => {
            bar.set_draw_target(ProgressDrawTarget::stderr());
            // indicatif's own ticks need a thread, which there may not be.
            let mut ticks = interval(TICK);
            loop {
                select! {
                    findings = &mut audit => break findings,
                    _ = ticks.tick() => bar.tick(),
                }
            }
        }
    };
    bar.finish_and_clear();
    findings
}
