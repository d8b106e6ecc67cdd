//! What the catalogue of checks promises: a fixture that passes and one that does not, a name, a doc, a row in README.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test that panics has failed")]

use std::{
    collections::BTreeSet,
    env, fs,
    path::{Path, PathBuf},
};

use checks::Check;
use serde_json::Value;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Every `report.json` of the fixtures.
fn reports() -> Vec<(PathBuf, Value)> {
    let entries = |folder: &Path| {
        let entries = fs::read_dir(folder).into_iter().flatten().flatten();
        entries.map(|entry| entry.path()).collect::<Vec<_>>()
    };
    let worlds = entries(&root().join("fixtures")).into_iter().flat_map(|family| entries(&family));
    let files = worlds.map(|world| world.join("report.json")).filter(|file| file.is_file());
    files
        .map(|file| {
            let report = serde_json::from_str(&fs::read_to_string(&file).unwrap()).unwrap();
            (file, report)
        })
        .collect()
}

fn findings(report: &Value) -> &[Value] {
    report["findings"].as_array().map(Vec::as_slice).unwrap_or_default()
}

/// The family whose verdicts hang on the host names of third parties, which stand in no fixture: `tests/provider.rs`
/// takes them from the table, and demands the same of each check.
const ELSEWHERE: &str = "provider";

#[test]
fn every_check_has_a_world_where_it_passes_and_one_where_it_does_not() {
    let reports = reports();
    let seen: BTreeSet<(&str, &str)> = reports
        .iter()
        .flat_map(|(_, report)| findings(report))
        .map(|finding| (finding["check"].as_str().unwrap(), finding["status"].as_str().unwrap()))
        .collect();
    let mut missing = Vec::new();
    for check in checks::all().filter(|check| check.family() != ELSEWHERE) {
        if !seen.contains(&(check.id, "pass")) {
            missing.push(format!("no fixture where {} passes", check.id));
        }
        if !["warn", "fail", "unknown"].iter().any(|status| seen.contains(&(check.id, status))) {
            missing.push(format!("no fixture where {} does not pass", check.id));
        }
    }
    assert!(missing.is_empty(), "{}", missing.join("\n"));
}

#[test]
fn ids_are_unique_and_name_family_and_subject() {
    let mut seen = BTreeSet::new();
    for Check { id, .. } in checks::all() {
        assert!(seen.insert(id), "{id} twice");
        let (family, subject) = id.split_once('.').unwrap_or_default();
        let is_word = |word: &str, joint: char| {
            word.starts_with(|c: char| c.is_ascii_lowercase())
                && word.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == joint)
        };
        assert!(is_word(family, '-') && is_word(subject, '-'), "{id} is not family.subject");
    }
}

#[test]
fn every_check_is_documented() {
    for check in checks::all() {
        let id = check.id;
        assert!(!check.title().is_empty(), "{id} has no title");
        assert!(!check.explanation().is_empty(), "{id} does not say why it matters");
        assert!(!check.remedy().is_empty(), "{id} has no '# Fix'");
        assert!(!check.reference.is_empty(), "{id} names no standard");
    }
}

/// One word for the file, the prefix of the id and the folder of the fixtures; a hyphen is an underscore in Rust.
#[test]
fn a_family_is_one_word_everywhere() {
    let all: Vec<&Check> = checks::all().collect();
    let families: Vec<&str> = all.chunk_by(|a, b| a.family() == b.family()).map(|checks| checks[0].family()).collect();
    let distinct: BTreeSet<&str> = families.iter().copied().collect();
    assert_eq!(families.len(), distinct.len(), "a family stands in two places: {families:?}");
    for family in families {
        assert!(
            root().join("checks/src").join(family.replace('-', "_")).with_extension("rs").is_file(),
            "{family} has no file"
        );
        assert!(root().join("fixtures").join(family).is_dir(), "{family} has no fixtures");
    }
}

#[test]
fn findings_come_in_the_order_of_the_catalogue() {
    let ids: Vec<&str> = checks::all().map(|check| check.id).collect();
    for (file, report) in reports() {
        let positions: Vec<_> =
            findings(&report).iter().map(|finding| ids.iter().position(|id| finding["check"] == *id)).collect();
        assert!(positions.iter().all(Option::is_some), "{}: a check that does not exist", file.display());
        assert!(positions.is_sorted(), "{}: findings out of order", file.display());
    }
}

#[test]
fn the_readme_of_the_checks_is_current() {
    let file = root().join("checks/README.md");
    if env::var_os("BLESS").is_some() {
        fs::write(&file, readme()).unwrap();
    }
    let written = fs::read_to_string(&file).unwrap_or_default();
    assert!(written == readme(), "{} is stale: 'just bless' writes it", file.display());
}

fn readme() -> String {
    let mut text = "# The checks\n\nGenerated from the doc comments in `src/` by `just bless`; \
                    `mail-preflight explain CHECK` prints the rest.\n"
        .to_owned();
    let all: Vec<&Check> = checks::all().collect();
    for family in all.chunk_by(|a, b| a.family() == b.family()) {
        text.push_str(&format!(
            "\n## {}\n\n| check | what is true when it passes | reference |\n|---|---|---|\n",
            family[0].family()
        ));
        for check in family {
            text.push_str(&format!(
                "| `{}` | {} | {} |\n",
                check.id,
                check.title().replace('|', "\\|"),
                check.reference
            ));
        }
    }
    text
}
