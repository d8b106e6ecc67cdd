//! What time it is: now, or `SOURCE_DATE_EPOCH`.

use std::{
    env,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use anyhow::{Context, ensure};

/// The last second of the year 9999: RFC 3339 has no word for what comes after it.
const LATEST: u64 = 253_402_300_799;

/// The time of the audit. A fixed clock makes two runs give the same bytes (<https://reproducible-builds.org/specs/source-date-epoch/>).
#[derive(Clone, Copy)]
pub(crate) struct Clock {
    /// What every check takes for now.
    pub(crate) now: SystemTime,
    is_fixed: bool,
}

impl Clock {
    /// The system's clock, unless `SOURCE_DATE_EPOCH` is set.
    pub(crate) fn from_environment() -> anyhow::Result<Self> {
        let Some(typed) = env::var_os("SOURCE_DATE_EPOCH") else {
            return Ok(Self { now: SystemTime::now(), is_fixed: false });
        };
        let form = || format!("SOURCE_DATE_EPOCH={}: expected seconds since 1970-01-01T00:00:00Z", typed.display());
        let seconds: u64 = typed.to_str().and_then(|text| text.parse().ok()).with_context(form)?;
        ensure!(seconds <= LATEST, "{}, of the year 9999 at most", form());
        Ok(Self { now: UNIX_EPOCH + Duration::from_secs(seconds), is_fixed: true })
    }

    /// How long ago `started` was: no time at all by a fixed clock.
    pub(crate) fn elapsed(&self, started: Instant) -> Duration {
        if self.is_fixed { Duration::ZERO } else { started.elapsed() }
    }
}
