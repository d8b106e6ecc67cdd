//! The folders of `fixtures/`, and the program that audits them.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

/// 2026-11-20T15:00:00Z, in every world.
const NOW: u64 = 1_795_186_800;

/// Every folder with `args`, named by its path.
pub(crate) fn all() -> Vec<(String, PathBuf)> {
    let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures");
    let mut worlds: Vec<_> = folders(&fixtures)
        .flat_map(|family| folders(&family).collect::<Vec<_>>())
        .filter(|folder| folder.join("args").is_file())
        .map(|folder| (folder.strip_prefix(&fixtures).unwrap_or(&folder).display().to_string(), folder))
        .collect();
    worlds.sort();
    worlds
}

fn folders(of: &Path) -> impl Iterator<Item = PathBuf> {
    let entries = fs::read_dir(of).into_iter().flatten().flatten();
    entries.map(|entry| entry.path()).filter(|path| path.is_dir())
}

/// The time in every world.
pub(crate) fn now() -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(NOW)
}

/// The real binary, with nothing of the environment that a world does not say, and with a cache of its own: a refused login
/// is remembered there.
pub(crate) fn program(args: &[String], scratch: &Path) -> Command {
    let mut program = Command::new(env!("CARGO_BIN_EXE_mail-preflight"));
    program.args(args).env_clear().env("SOURCE_DATE_EPOCH", NOW.to_string()).env("COLUMNS", "100");
    program.env("XDG_CACHE_HOME", scratch.join("cache"));
    program
}
